import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Resource } from "../core/ledger.ts";
import { jsonOf } from "../core/printable.ts";
import { STATE_FILE, STATE_VERSION } from "./state-file.ts";

/** The string fields that each kind of resource must have. */
const FIELDS: Readonly<Record<Resource["kind"], readonly string[]>> = {
  process: ["role"],
  nic: ["netns", "name", "address"],
  tap: ["netns", "name"],
  qdisc: ["netns", "device"],
  user: ["path"],
  cgroup: ["path", "existing"],
  netns: ["path"],
  loop: ["file"],
  vfio: ["path"],
  mount: ["path"],
  socket: ["path"],
  directory: ["path"],
};

/** The contents of a pod's ledger. */
interface ReadState {
  readonly resources: readonly Resource[];
  /** Why `resources` may be incomplete; undefined if they are complete. */
  readonly problem: string | undefined;
}

/**
 * Reads the ledger of a pod whose daemon is gone. No file means that the daemon had not recorded anything
 * yet. From a truncated, damaged or other version's file, it takes the entries it can read. Never rejects.
 */
export async function readState(directory: string): Promise<ReadState> {
  const path = join(directory, STATE_FILE);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { resources: [], problem: code === "ENOENT" ? undefined : `${path}: ${message}` };
  }
  const record = parse(text);
  const listed = record && Array.isArray(record.resources) ? record.resources : salvage(text);
  const resources = listed.filter(isResource);
  const problem = problemOf(record) ?? unknownOf(listed.filter((one) => !isResource(one)));
  return { resources, problem: problem && `${path}: ${problem}` };
}

/** Characters of unknown entries that are quoted in `problem`. */
const LONGEST_QUOTE = 1_000;

function problemOf(record: Record<string, unknown> | undefined): string | undefined {
  if (!record || !Array.isArray(record.resources)) return "it is truncated or damaged";
  if (record.version !== STATE_VERSION) {
    return `its version is ${jsonOf(record.version)}, this program's is ${STATE_VERSION}`;
  }
  return undefined;
}

function unknownOf(unknown: readonly unknown[]): string | undefined {
  return unknown.length > 0
    ? `it contains an unknown entry: ${jsonOf(unknown)?.slice(0, LONGEST_QUOTE)}`
    : undefined;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // problemOf reports it
  }
}

/** Finds the resources in a text that is not valid JSON as a whole: each is an object without nested ones. */
function salvage(text: string): unknown[] {
  return (text.match(/\{"kind":[^{}]*\}/g) ?? []).flatMap((one) => parse(one) ?? []);
}

function isResource(value: unknown): value is Resource {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  if (typeof fields.kind !== "string" || !Object.hasOwn(FIELDS, fields.kind)) return false;
  return FIELDS[fields.kind as Resource["kind"]].every((name) => typeof fields[name] === "string");
}
