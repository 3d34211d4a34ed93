import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";

/** What a check found. `missing` is something hull works without; `fail` is something that stops pods. */
export interface Finding {
  readonly name: string;
  readonly status: "ok" | "missing" | "fail";
  readonly detail: string;
  readonly advice?: string | undefined;
}

/** What the checks look at. */
export interface CheckContext {
  readonly config: Config;
  readonly installation: string;
  /** Where bare program names are looked for. */
  readonly path: string | undefined;
  readonly deadline: Deadline;
}

export type Check = (context: CheckContext) => Promise<readonly Finding[]>;

/** The message of anything thrown. */
export const messageOf = (thrown: unknown): string => HullError.from(thrown).message;
