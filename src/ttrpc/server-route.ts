import type { Deadline } from "../core/deadline.ts";
import type { MethodDefinition } from "./definition.ts";

/** What a handler knows about its call. */
export interface CallContext {
  /**
   * The client's timeout. It does *not* end when the client disconnects, except in streaming calls: a restart
   * of containerd must not leave a task half changed.
   */
  readonly deadline: Deadline;
  readonly metadata: ReadonlyMap<string, string[]>;
  /** The full name by which the service was called. */
  readonly service: string;
  /** Ends with the connection; for handlers that wait only on behalf of this client. */
  readonly connection: Deadline;
}

/** A registered method. */
export interface ServerRoute {
  /** Service and method, for errors. */
  readonly name: string;
  readonly definition: MethodDefinition;
  readonly handler: (request: unknown, context: CallContext) => unknown;
}
