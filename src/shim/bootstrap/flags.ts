import { invalidArgument } from "../../core/errors.ts";

/** The launcher's command line. containerd passes Go style flags, then one word for the action. */
export interface Flags {
  namespace: string;
  id: string;
  /** containerd's gRPC socket. Empty under CRI-O. */
  address: string;
  /** containerd's executable. */
  publishBinary: string;
  bundle: string;
  debug: boolean;
  version: boolean;
  info: boolean;
  /** `start`, `delete`; empty when there is no such word. */
  action: string;
}

const STRING_FLAGS = {
  namespace: "namespace",
  id: "id",
  address: "address",
  "publish-binary": "publishBinary",
  bundle: "bundle",
} as const;

const BOOL_FLAGS = { debug: "debug", v: "version", version: "version", info: "info" } as const;

/** Taken by containerd's own shims, and without meaning here: accepted with their value, and ignored. */
const IGNORED_STRING_FLAGS = new Set(["socket", "debug-socket"]);

/** Go's strconv.ParseBool. */
const BOOL_VALUES: Readonly<Record<string, boolean>> = {
  "1": true,
  t: true,
  T: true,
  true: true,
  TRUE: true,
  True: true,
  "0": false,
  f: false,
  F: false,
  false: false,
  FALSE: false,
  False: false,
};

const booleanOf = (value: string) => (Object.hasOwn(BOOL_VALUES, value) ? BOOL_VALUES[value] : undefined);

/** A word as an error tells it. */
const told = (word: string) => (word.length > 80 ? `${word.slice(0, 80)}...` : word);

/**
 * Parses `-x v`, `--x v`, `-x=v` and bare booleans as Go's flag package does: parsing ends at the first word that
 * is no flag, at `-`, or behind `--`. Throws InvalidArgument for an unknown flag or a missing value.
 */
export function parseFlags(args: readonly string[]): Flags {
  const flags: Flags = {
    namespace: "",
    id: "",
    address: "",
    publishBinary: "",
    bundle: "",
    debug: false,
    version: false,
    info: false,
    action: "",
  };
  let index = 0;
  for (; index < args.length; index++) {
    const word = args[index] as string;
    if (word === "--") {
      index++;
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(word);
    if (!match) {
      if (word.length > 1 && word.startsWith("-")) throw invalidArgument(`bad flag syntax: ${told(word)}`);
      break;
    }
    const name = match[1] as string;
    let value = match[2];
    if (Object.hasOwn(BOOL_FLAGS, name)) {
      const parsed = value === undefined ? true : booleanOf(value);
      if (parsed === undefined)
        throw invalidArgument(`flag -${told(name)}: ${told(value ?? "")} is no boolean`);
      flags[BOOL_FLAGS[name as keyof typeof BOOL_FLAGS]] = parsed;
      continue;
    }
    const isKnown = Object.hasOwn(STRING_FLAGS, name);
    if (!isKnown && !IGNORED_STRING_FLAGS.has(name)) {
      throw invalidArgument(`flag -${told(name)} is not known`);
    }
    if (value === undefined) {
      index++;
      value = args[index];
      if (value === undefined) throw invalidArgument(`flag -${name} needs a value`);
    }
    if (isKnown) flags[STRING_FLAGS[name as keyof typeof STRING_FLAGS]] = value;
  }
  flags.action = args[index] ?? "";
  return flags;
}
