import {
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from "../../proto/generated/containerd/events/task.ts";
import type { Any } from "../../proto/generated/google/protobuf/any.ts";
import { Status } from "../../proto/generated/google/rpc/status.ts";
import type { MessageCodec } from "../../ttrpc/definition.ts";

/** The message of each topic (containerd core/runtime/events.go), by its name. */
const TOPICS = {
  "/tasks/create": { name: "containerd.events.TaskCreate", codec: TaskCreate as MessageCodec<TaskCreate> },
  "/tasks/start": { name: "containerd.events.TaskStart", codec: TaskStart as MessageCodec<TaskStart> },
  "/tasks/exit": { name: "containerd.events.TaskExit", codec: TaskExit as MessageCodec<TaskExit> },
  "/tasks/delete": { name: "containerd.events.TaskDelete", codec: TaskDelete as MessageCodec<TaskDelete> },
  "/tasks/exec-added": {
    name: "containerd.events.TaskExecAdded",
    codec: TaskExecAdded as MessageCodec<TaskExecAdded>,
  },
  "/tasks/exec-started": {
    name: "containerd.events.TaskExecStarted",
    codec: TaskExecStarted as MessageCodec<TaskExecStarted>,
  },
  "/tasks/oom": { name: "containerd.events.TaskOOM", codec: TaskOOM as MessageCodec<TaskOOM> },
  "/tasks/paused": { name: "containerd.events.TaskPaused", codec: TaskPaused as MessageCodec<TaskPaused> },
  "/tasks/resumed": {
    name: "containerd.events.TaskResumed",
    codec: TaskResumed as MessageCodec<TaskResumed>,
  },
  /**
   * hull's own topic. containerd passes on any topic, but its clients must know the message: `ctr events` skips an
   * unknown one or, in old versions, exits. All clients know google.rpc.Status.
   */
  "/hull/health": { name: "google.rpc.Status", codec: Status as MessageCodec<Status> },
} as const;

type Topic = keyof typeof TOPICS;
type MessageOf<T extends Topic> = (typeof TOPICS)[T]["codec"] extends MessageCodec<infer M> ? M : never;

/** An event in containerd's form. */
export interface ShimEvent {
  readonly topic: Topic;
  readonly event: Any;
  /** When it happened. */
  readonly at: Date;
}

/** Returns an event that happens now. */
export function shimEvent<T extends Topic>(topic: T, message: MessageOf<T>): ShimEvent {
  const { name, codec } = TOPICS[topic];
  const value = (codec as MessageCodec<unknown>).encode(message).finish();
  return { topic, event: { typeUrl: name, value }, at: new Date() };
}
