/**
 * The vocabulary that the configuration schema is written in. A schema is a tree of sections whose leaves are
 * keys; everything else about the configuration (types, validator, JSON Schema, samples, reference page,
 * completion) is derived from it.
 */

/** The two virtual machine monitors; some defaults depend on which one is chosen. */
export type HypervisorType = "qemu" | "cloud-hypervisor";

/** What every key says about itself. */
interface KeyFacts<T> {
  /** What the key does, one or two sentences. */
  readonly about: string;
  /** The value without any configuration; for paths and programs see `relative`. */
  readonly default: T;
  /** Defaults that differ for one hypervisor type. */
  readonly defaultFor?: Partial<Readonly<Record<HypervisorType, T>>>;
  /** The first version that knows the key. */
  readonly since: string;
  /** A pod may set it by annotation when `runtime.enable_annotations` lists it. */
  readonly annotation?: boolean;
  /** Defined, but what it asks for does not exist yet: setting it to anything but its default is refused. */
  readonly planned?: boolean;
  /** Still parsed, with a warning; `until` is the date after which it may go. */
  readonly retired?: { readonly since: string; readonly until: string; readonly instead: string };
  readonly example?: string;
}

export interface StringKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "string";
  /** What a value must look like, and that in words. */
  readonly pattern?: RegExp;
  readonly rule?: string;
}

export interface ChoiceKey<T extends string = string> extends KeyFacts<T> {
  readonly kind: "choice";
  readonly choices: readonly T[];
}

export interface BooleanKey extends KeyFacts<boolean> {
  readonly kind: "boolean";
}

export interface IntegerKey extends KeyFacts<number> {
  readonly kind: "integer";
  readonly unit: string;
  readonly min: number;
  readonly max: number;
}

/** Written as `500ms`, `10s`, `2m` or `1h`; a number of milliseconds in the loaded configuration. */
export interface DurationKey extends KeyFacts<number> {
  readonly kind: "duration";
  readonly min: number;
  readonly max: number;
}

/** A file or folder: absolute, or relative to the folder of the file that sets it. */
export interface PathKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "path";
  /** A default that lies in the installation (the folder that holds bin/, guest/ and configs/). */
  readonly relative?: "installation";
}

/** An executable: a bare name is searched for, anything with a slash is a path. */
export interface ProgramKey<T extends string | undefined = string> extends KeyFacts<T> {
  readonly kind: "program";
}

export interface ListKey extends KeyFacts<readonly string[]> {
  readonly kind: "list";
  /** What an item is called in messages. */
  readonly item: string;
  readonly pattern?: RegExp;
  readonly rule?: string;
}

/** One of `choices`, or a mapping `{after: <duration>}`. */
export interface ChoiceOrAfterKey<T extends string = string>
  extends KeyFacts<T | { readonly after: number }> {
  readonly kind: "choice-or-after";
  readonly choices: readonly T[];
  readonly min: number;
  readonly max: number;
}

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

export interface Section<C extends SectionKeys = SectionKeys> {
  readonly kind: "section";
  readonly about: string;
  readonly keys: C;
}
export interface SectionKeys {
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

export const section = <C extends SectionKeys>(about: string, keys: C): Section<C> => ({
  kind: "section",
  about,
  keys,
});
export const string = (facts: Facts<StringKey>): StringKey => ({ kind: "string", ...facts });
export const choice = <const T extends string>(facts: Facts<ChoiceKey<T>>): ChoiceKey<T> => ({
  kind: "choice",
  ...facts,
});
export const boolean = (facts: Facts<BooleanKey>): BooleanKey => ({ kind: "boolean", ...facts });
export const integer = (facts: Facts<IntegerKey>): IntegerKey => ({ kind: "integer", ...facts });
export const duration = (facts: Facts<DurationKey>): DurationKey => ({ kind: "duration", ...facts });
export const path = (facts: Facts<PathKey<string>>): PathKey<string> => ({ kind: "path", ...facts });
/** A path that may be unset. */
export const optionalPath = (
  facts: Omit<Facts<PathKey<string | undefined>>, "default">,
): PathKey<string | undefined> => ({ kind: "path", default: undefined, ...facts });
export const program = (facts: Facts<ProgramKey<string>>): ProgramKey<string> => ({
  kind: "program",
  ...facts,
});
export const list = (facts: Facts<ListKey>): ListKey => ({
  kind: "list",
  ...facts,
  default: Object.freeze([...facts.default]),
});
export const choiceOrAfter = <const T extends string>(
  facts: Facts<ChoiceOrAfterKey<T>>,
): ChoiceOrAfterKey<T> => ({
  kind: "choice-or-after",
  ...facts,
});

/** The default of a key for a hypervisor type. */
export function defaultOf(key: Key, type: HypervisorType): Value {
  return key.defaultFor && type in key.defaultFor ? key.defaultFor[type] : key.default;
}
