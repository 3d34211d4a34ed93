import { Deadline } from "./deadline.ts";

/** Extra time after a timeout, when tools are killed: until the kernel has removed the process, which may hang. */
const GRACE_MS = 1_000;

/** Releases something within `ms` milliseconds, and abandons a release that exceeds them. Rejects with its error. */
export async function releaseWithin(
  ms: number,
  name: string,
  release: (by: Deadline) => Promise<unknown>,
): Promise<void> {
  await Deadline.within(ms + GRACE_MS, name, (end) =>
    Deadline.within(ms, name, (limit) => end.race(release(limit))),
  );
}
