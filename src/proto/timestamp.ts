import type { Timestamp } from "./generated/google/protobuf/timestamp.ts";

/** Converts a time to a protobuf timestamp. */
export function toTimestamp(date: Date): Timestamp {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 };
}
