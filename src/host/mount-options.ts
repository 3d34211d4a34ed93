import { dirname } from "node:path";
import { invalidArgument } from "../core/errors.ts";

/** mount(2) copies one page of options; its closing NUL takes a byte. */
const MAX_OPTIONS = 4095;

/** MS_* of mount(2) by the options of mount(8). */
const FLAG: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 1 << 1,
  nodev: 1 << 2,
  noexec: 1 << 3,
  sync: 1 << 4,
  mand: 1 << 6,
  dirsync: 1 << 7,
  nosymfollow: 1 << 8,
  noatime: 1 << 10,
  nodiratime: 1 << 11,
  silent: 1 << 15,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
};
const OPPOSITE: Readonly<Record<string, string>> = {
  rw: "ro",
  suid: "nosuid",
  dev: "nodev",
  exec: "noexec",
  async: "sync",
  nomand: "mand",
  symfollow: "nosymfollow",
  atime: "noatime",
  diratime: "nodiratime",
  loud: "silent",
  norelatime: "relatime",
  nostrictatime: "strictatime",
  nolazytime: "lazytime",
};
/** Options for mount(8) itself or for readers of fstab(5). */
const FOR_THE_TOOL = /^(|defaults|auto|noauto|nofail|_netdev|[xX]-.*|comment=.*)$/;

/**
 * Splits mount(8)'s options into flags for mount(2) and the rest, for the file system. The later of two
 * contradicting options wins.
 */
export function splitOptions(options: readonly string[]): { flags: number; rest: string[] } {
  let flags = 0;
  const rest: string[] = [];
  for (const option of options) {
    const set = Object.hasOwn(FLAG, option) ? FLAG[option] : undefined;
    const clear = FLAG[OPPOSITE[option] ?? ""];
    if (set !== undefined) flags |= set;
    else if (clear !== undefined) flags &= ~clear;
    else if (!FOR_THE_TOOL.test(option)) rest.push(option);
  }
  return { flags, rest };
}

/**
 * Joins options for mount(2), which must run in `directory`: if they are too long, an overlay's lower
 * directories become relative to their common parent. Throws InvalidArgument if that is not enough.
 */
export function fitOptions(given: readonly string[]): { options: string; directory: string } {
  const whole = given.join(",");
  if (Buffer.byteLength(whole) <= MAX_OPTIONS) return { options: whole, directory: "/" };
  const index = given.findIndex((option) => option.startsWith("lowerdir="));
  const lower = (given[index] ?? "").slice("lowerdir=".length).split(":");
  const directory = lower.map(dirname).reduce(commonDirectory);
  if (index >= 0 && directory !== "/" && lower.every((path) => path.startsWith("/"))) {
    const relative = `lowerdir=${lower.map((path) => path.slice(directory.length + 1)).join(":")}`;
    const options = given.with(index, relative).join(",");
    if (Buffer.byteLength(options) <= MAX_OPTIONS) return { options, directory };
  }
  throw invalidArgument(
    `the options have ${whole.length} bytes, the kernel accepts ${MAX_OPTIONS}; ` +
      "the image has too many layers",
  );
}

function commonDirectory(one: string, other: string): string {
  const parts = other.split("/");
  const same = one.split("/").findIndex((part, index) => part !== parts[index]);
  return same < 0 ? one : one.split("/").slice(0, same).join("/") || "/";
}
