import type { Deadline } from "../core/deadline.ts";
import type { MethodDefinition } from "./definition.ts";

/** What a handler knows of the call it answers. */
export interface CallContext {
  /**
   * The time the client gives the call. It is *not* over when the client goes away, except for calls that stream:
   * a task must not be half changed because containerd was restarted.
   */
  readonly deadline: Deadline;
  readonly metadata: ReadonlyMap<string, string[]>;
  /** The full name the service was called by. */
  readonly service: string;
  /** Over when the connection is: for handlers that wait on behalf of this client only. */
  readonly connection: Deadline;
}

/** A method as it is looked up by name. */
export interface ServerRoute {
  /** Service and method for errors. */
  readonly name: string;
  readonly definition: MethodDefinition;
  readonly handler: (request: unknown, context: CallContext) => unknown;
}
