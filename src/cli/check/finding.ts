import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";

/** A check's result. `missing` means that hull works without it, `fail` that pods cannot run. */
export interface Finding {
  readonly name: string;
  readonly status: "ok" | "missing" | "fail";
  readonly detail: string;
  readonly advice?: string | undefined;
}

/** What a check needs. */
export interface CheckContext {
  readonly config: Config;
  readonly installation: string;
  /** The PATH to search for program names. */
  readonly path: string | undefined;
  /** Where hull's pods keep their state: /run/hull, except in tests. */
  readonly state: string;
  readonly deadline: Deadline;
}

/**
 * One check of `hull check`, which may return several findings. Failures are findings, too; it does not
 * reject.
 */
export type Check = (context: CheckContext) => Promise<readonly Finding[]>;

/** Returns the message of a thrown value. */
export const messageOf = (thrown: unknown): string => HullError.from(thrown).message;
