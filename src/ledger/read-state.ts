import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Resource } from "../core/ledger.ts";
import { jsonOf } from "../core/printable.ts";
import { STATE_FILE, STATE_VERSION } from "./state-file.ts";

/** The texts that a resource of each kind must have; further ones are up to the kind. */
const FIELDS: Readonly<Record<Resource["kind"], readonly string[]>> = {
  process: ["role"],
  tap: ["netns", "name"],
  qdisc: ["netns", "device"],
  user: ["path"],
  cgroup: ["path", "existing"],
  netns: ["path"],
  loop: ["file"],
  mount: ["path"],
  socket: ["path"],
  directory: ["path"],
};

/** What the ledger of a pod says. */
export interface ReadState {
  readonly resources: readonly Resource[];
  /** Why this may not be all of it; undefined when it is. */
  readonly problem: string | undefined;
}

/**
 * Reads the ledger of a pod whose daemon is gone; without one the daemon had not come as far as writing it. Of a file
 * that is cut off, damaged or another version's, whatever it names that can be understood counts. Never rejects.
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

/** Characters of what is not known that are told. */
const LONGEST_TOLD = 1_000;

function problemOf(record: Record<string, unknown> | undefined): string | undefined {
  if (!record || !Array.isArray(record.resources)) return "it is truncated or damaged";
  if (record.version !== STATE_VERSION) {
    return `its version is ${jsonOf(record.version)}, this program's is ${STATE_VERSION}`;
  }
  return undefined;
}

function unknownOf(unknown: readonly unknown[]): string | undefined {
  return unknown.length > 0
    ? `it contains an unknown entry: ${jsonOf(unknown)?.slice(0, LONGEST_TOLD)}`
    : undefined;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // problemOf tells it
  }
}

/** The resources in a text that is no JSON as a whole: each is an object without others in it. */
function salvage(text: string): unknown[] {
  return (text.match(/\{"kind":[^{}]*\}/g) ?? []).flatMap((one) => parse(one) ?? []);
}

function isResource(value: unknown): value is Resource {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  if (typeof fields.kind !== "string" || !Object.hasOwn(FIELDS, fields.kind)) return false;
  return FIELDS[fields.kind as Resource["kind"]].every((name) => typeof fields[name] === "string");
}
