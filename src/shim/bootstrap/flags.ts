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

/** A flag: the field that it sets, and what it is for. Help and the manual page list these. */
interface BoolFlag {
  readonly field: "debug" | "version" | "info";
  readonly about: string;
}
interface StringFlag {
  readonly field: "namespace" | "id" | "address" | "publishBinary" | "bundle";
  /** What its value is called. */
  readonly value: string;
  readonly about: string;
}

const STRING_FLAGS: Readonly<Record<string, StringFlag>> = {
  namespace: { field: "namespace", value: "NS", about: "namespace of the container in containerd" },
  id: { field: "id", value: "ID", about: "id of the container" },
  address: { field: "address", value: "SOCKET", about: "gRPC socket of containerd" },
  "publish-binary": {
    field: "publishBinary",
    value: "PATH",
    about: "program of containerd; its version decides whether gRPC can be served",
  },
  bundle: { field: "bundle", value: "DIR", about: "bundle to delete (default: the current directory)" },
};

const BOOL_FLAGS: Readonly<Record<string, BoolFlag>> = {
  debug: { field: "debug", about: "log at level debug" },
  info: { field: "info", about: "print the runtime's features (containerd's RuntimeInfo message) and exit" },
  v: { field: "version", about: "print the version and exit" },
  version: { field: "version", about: "the same as -v" },
};

/** Every flag as it is written, with what it is for. */
export const flagList = (): readonly { readonly usage: string; readonly about: string }[] => [
  ...Object.entries(STRING_FLAGS).map(([name, { value, about }]) => ({ usage: `-${name} ${value}`, about })),
  ...Object.entries(BOOL_FLAGS).map(([name, { about }]) => ({ usage: `-${name}`, about })),
];

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

/** Names come from outside: one that every object inherits (`toString`) is none of ours. */
const own = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

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
    const boolFlag = own(BOOL_FLAGS, name);
    if (boolFlag) {
      const parsed = value === undefined ? true : own(BOOL_VALUES, value);
      if (parsed === undefined)
        throw invalidArgument(`flag -${told(name)}: ${told(value ?? "")} is not a boolean`);
      flags[boolFlag.field] = parsed;
      continue;
    }
    const stringFlag = own(STRING_FLAGS, name);
    if (!stringFlag && !IGNORED_STRING_FLAGS.has(name)) {
      throw invalidArgument(`flag -${told(name)} is not known`);
    }
    if (value === undefined) {
      index++;
      value = args[index];
      if (value === undefined) throw invalidArgument(`flag -${name} needs a value`);
    }
    if (stringFlag) flags[stringFlag.field] = value;
  }
  flags.action = args[index] ?? "";
  return flags;
}
