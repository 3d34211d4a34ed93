import { invalidArgument } from "../../core/errors.ts";
import { shortened } from "../../core/shortened.ts";

/** The launcher's command line: flags in Go's syntax, then the action. */
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
  /** `start`, `delete`; empty if there is none. */
  action: string;
}

/** A flag: the field that it sets, and its description in help and manual page. */
interface BoolFlag {
  readonly field: "debug" | "version" | "info";
  readonly about: string;
}
interface StringFlag {
  readonly field: "namespace" | "id" | "address" | "publishBinary" | "bundle";
  /** The placeholder of its value. */
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
    about: "containerd's executable; its version decides whether gRPC can be served",
  },
  bundle: { field: "bundle", value: "DIR", about: "bundle to delete (default: the current directory)" },
};

const BOOL_FLAGS: Readonly<Record<string, BoolFlag>> = {
  debug: { field: "debug", about: "log at level debug" },
  info: { field: "info", about: "print the runtime's features (containerd's RuntimeInfo message) and exit" },
  v: { field: "version", about: "print the version and exit" },
  version: { field: "version", about: "the same as -v" },
};

/** Returns every flag with its description, for help and manual page. */
export const flagList = (): readonly { readonly usage: string; readonly about: string }[] => [
  ...Object.entries(STRING_FLAGS).map(([name, { value, about }]) => ({ usage: `-${name} ${value}`, about })),
  ...Object.entries(BOOL_FLAGS).map(([name, { about }]) => ({ usage: `-${name}`, about })),
];

/** Flags of containerd's own shims that are accepted with their value and ignored. */
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

/** Looks up a name from outside, for which inherited properties (`toString`) must not be found. */
const own = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** Characters of an argument in an error. */
const LONGEST_QUOTE = 80;

/**
 * Parses `-x v`, `--x v`, `-x=v` and bare booleans as Go's flag package does: up to the first argument that is not a
 * flag (`-` is none), or after `--`. Throws InvalidArgument for an unknown flag or a missing value.
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
    const arg = args[index] as string;
    if (arg === "--") {
      index++;
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(arg);
    if (!match) {
      if (arg.length > 1 && arg.startsWith("-"))
        throw invalidArgument(`bad flag syntax: ${shortened(arg, LONGEST_QUOTE)}`);
      break;
    }
    const name = match[1] as string;
    let value = match[2];
    const boolFlag = own(BOOL_FLAGS, name);
    if (boolFlag) {
      const parsed = value === undefined ? true : own(BOOL_VALUES, value);
      if (parsed === undefined)
        throw invalidArgument(
          `flag -${shortened(name, LONGEST_QUOTE)}: ${shortened(value ?? "", LONGEST_QUOTE)} is not a boolean`,
        );
      flags[boolFlag.field] = parsed;
      continue;
    }
    const stringFlag = own(STRING_FLAGS, name);
    if (!stringFlag && !IGNORED_STRING_FLAGS.has(name)) {
      throw invalidArgument(`flag -${shortened(name, LONGEST_QUOTE)} is not known`);
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
