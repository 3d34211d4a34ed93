/**
 * The vocabulary of the configuration schema. A schema is a tree of sections whose leaves are keys; everything else
 * (types, validator, JSON Schema, samples, reference page, completion) is derived from it.
 */

/** The two VMMs; some defaults depend on the choice. */
export type HypervisorType = "qemu" | "cloud-hypervisor";

/** What every key has, whatever its kind. */
interface KeyFacts<T> {
  /** What the key does, for the reference: one or two sentences. */
  readonly about: string;
  /** The value if nothing sets it; for paths see `relative`. */
  readonly default: T;
  /** Defaults that differ for one hypervisor type. */
  readonly defaultFor?: Partial<Readonly<Record<HypervisorType, T>>>;
  /** The first version that has the key. */
  readonly since: string;
  /** A pod may set it by annotation when `runtime.enable_annotations` lists it. */
  readonly annotation?: boolean;
  /** Not implemented yet: any value but the default is refused. */
  readonly planned?: boolean;
  /** Accepted with a warning; after the date `until` it may be removed. */
  readonly retired?: { readonly since: string; readonly until: string; readonly instead: string };
  readonly example?: string;
}

/** A string. */
interface StringKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "string";
  /** What values must match. */
  readonly pattern?: RegExp;
  /** The same for messages: "must be ...". */
  readonly rule?: string;
}

/** One of several strings. */
interface ChoiceKey<T extends string = string> extends KeyFacts<T> {
  readonly kind: "choice";
  readonly choices: readonly T[];
}

/** true or false. */
interface BooleanKey extends KeyFacts<boolean> {
  readonly kind: "boolean";
}

/** A whole number from `min` to `max`. */
interface IntegerKey extends KeyFacts<number> {
  readonly kind: "integer";
  /** What is counted; undefined for a number that is not an amount. */
  readonly unit?: string;
  readonly min: number;
  readonly max: number;
}

/** Written as `500ms`, `10s`, `2m` or `1h`; a number of milliseconds in the loaded configuration. */
interface DurationKey extends KeyFacts<number> {
  readonly kind: "duration";
  readonly min: number;
  readonly max: number;
}

/** A file or directory: absolute, or relative to the directory of the file that sets it. */
interface PathKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "path";
  /** The default is relative to the installation (the directory that contains bin/, guest/ and configs/). */
  readonly relative?: "installation";
}

/** An executable: a path, or a name that is searched for (src/host/program.ts). */
interface ProgramKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "program";
}

/** A list of strings. */
interface ListKey extends KeyFacts<readonly string[]> {
  readonly kind: "list";
  /** The word for an item in messages. */
  readonly item: string;
  readonly pattern?: RegExp;
  readonly rule?: string;
}

/** One of `choices`, or a mapping `{after: <duration>}`. */
interface ChoiceOrAfterKey<T extends string = string> extends KeyFacts<T | { readonly after: number }> {
  readonly kind: "choice-or-after";
  readonly choices: readonly T[];
  readonly min: number;
  readonly max: number;
}

/** A key of any kind. */
export type Key =
  | StringKey<string>
  | StringKey<string | undefined>
  | ChoiceKey
  | BooleanKey
  | IntegerKey
  | DurationKey
  | PathKey<string>
  | PathKey<string | undefined>
  | ProgramKey<string>
  | ProgramKey<string | undefined>
  | ListKey
  | ChoiceOrAfterKey;

/** The value of a key in a loaded configuration. */
export type Value = string | number | boolean | readonly string[] | { readonly after: number } | undefined;

/** A mapping of keys and other sections. */
export interface Section<C extends SectionKeys = SectionKeys> {
  readonly kind: "section";
  readonly about: string;
  readonly keys: C;
}
/** The keys and sections of a section, by name. */
interface SectionKeys {
  readonly [name: string]: Key | Section;
}

/** The type of the configuration that a section describes. */
export type ValueOf<N> =
  N extends Section<infer C>
    ? { readonly [K in keyof C]: ValueOf<C[K]> }
    : N extends KeyFacts<infer T>
      ? T
      : never;

type Facts<K> = Omit<K, "kind">;

/** Defines a section. */
export const section = <C extends SectionKeys>(about: string, keys: C): Section<C> => ({
  kind: "section",
  about,
  keys,
});
/** Defines a string. */
export const string = (facts: Facts<StringKey>): StringKey => ({ kind: "string", ...facts });
/** Defines a choice. */
export const choice = <const T extends string>(facts: Facts<ChoiceKey<T>>): ChoiceKey<T> => ({
  kind: "choice",
  ...facts,
});
/** Defines a boolean. */
export const boolean = (facts: Facts<BooleanKey>): BooleanKey => ({ kind: "boolean", ...facts });
/** Defines a whole number. */
export const integer = (facts: Facts<IntegerKey>): IntegerKey => ({ kind: "integer", ...facts });
/** Defines a duration; `min`, `max` and `default` are in milliseconds. */
export const duration = (facts: Facts<DurationKey>): DurationKey => ({ kind: "duration", ...facts });
/** Defines a path that always has a value. */
export const path = (facts: Facts<PathKey<string>>): PathKey<string> => ({ kind: "path", ...facts });
/** Defines a path that may be unset. */
export const optionalPath = (
  facts: Omit<Facts<PathKey<string | undefined>>, "default">,
): PathKey<string | undefined> => ({ kind: "path", default: undefined, ...facts });
/** Defines an executable. */
export const program = (facts: Facts<ProgramKey<string>>): ProgramKey<string> => ({
  kind: "program",
  ...facts,
});
/** Defines a list of strings. */
export const list = (facts: Facts<ListKey>): ListKey => ({
  kind: "list",
  ...facts,
  default: Object.freeze([...facts.default]),
});
/** Defines a choice that may also be `{after: <duration>}`; `min` and `max` are in milliseconds. */
export const choiceOrAfter = <const T extends string>(
  facts: Facts<ChoiceOrAfterKey<T>>,
): ChoiceOrAfterKey<T> => ({
  kind: "choice-or-after",
  ...facts,
});

/** Returns the default of a key for a hypervisor type. */
export function defaultOf(key: Key, type: HypervisorType): Value {
  return key.defaultFor && type in key.defaultFor ? key.defaultFor[type] : key.default;
}
