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
import type { MessageCodec } from "../../ttrpc/definition.ts";

/** The event of each topic (containerd core/runtime/events.go), by its message's name in `containerd.events`. */
const TOPICS = {
  "/tasks/create": { name: "TaskCreate", codec: TaskCreate as MessageCodec<TaskCreate> },
  "/tasks/start": { name: "TaskStart", codec: TaskStart as MessageCodec<TaskStart> },
  "/tasks/exit": { name: "TaskExit", codec: TaskExit as MessageCodec<TaskExit> },
  "/tasks/delete": { name: "TaskDelete", codec: TaskDelete as MessageCodec<TaskDelete> },
  "/tasks/exec-added": { name: "TaskExecAdded", codec: TaskExecAdded as MessageCodec<TaskExecAdded> },
  "/tasks/exec-started": { name: "TaskExecStarted", codec: TaskExecStarted as MessageCodec<TaskExecStarted> },
  "/tasks/oom": { name: "TaskOOM", codec: TaskOOM as MessageCodec<TaskOOM> },
  "/tasks/paused": { name: "TaskPaused", codec: TaskPaused as MessageCodec<TaskPaused> },
  "/tasks/resumed": { name: "TaskResumed", codec: TaskResumed as MessageCodec<TaskResumed> },
} as const;

export type TaskTopic = keyof typeof TOPICS;
type MessageOf<T extends TaskTopic> = (typeof TOPICS)[T]["codec"] extends MessageCodec<infer M> ? M : never;

/** An event as containerd takes it. */
export interface TaskEvent {
  readonly topic: TaskTopic;
  readonly event: Any;
  /** When it happened. */
  readonly at: Date;
}

/** Encodes an event of now. */
export function taskEvent<T extends TaskTopic>(topic: T, message: MessageOf<T>): TaskEvent {
  const { name, codec } = TOPICS[topic];
  const value = (codec as MessageCodec<unknown>).encode(message).finish();
  return { topic, event: { typeUrl: `containerd.events.${name}`, value }, at: new Date() };
}
