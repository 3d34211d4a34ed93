import assert from "node:assert/strict";
import { readlink } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { belongsToThisTest } from "./cgroup.ts";
import { cgroups, directoryEntries, links, mounts, processes, unixSockets } from "./resources.ts";

/** Which resources are counted. */
export interface LeakScope {
  /** The test's containerd namespace, which nothing else on the machine uses. */
  readonly namespace: string;
  /** The directory of the containerd instance. */
  readonly directory: string;
  /**
   * Nothing else on this machine uses hull or containerd meanwhile: count every process of hull, every Unix
   * socket and every network interface, even if their owner is unknown.
   */
  readonly exclusive?: boolean;
}

/** Programs that hull starts, as the kernel names them (`comm`, at most 15 bytes). */
const PROGRAMS = /^(qemu-system-|virtiofsd|vhost-device-|cloud-hyperviso|containerd-shim|hull)/;

/** containerd itself, which tests restart. */
const DAEMON = "containerd";

/** Resolves with everything in the scope, one line per object; the line of an object does not change. */
export async function snapshot(scope: LeakScope): Promise<Set<string>> {
  const { namespace, directory, exclusive = false } = scope;
  const state = `/run/hull/${namespace}/`;
  const tokens = [`/${namespace}/`, `${directory}/`];
  const ours = (text: string) => tokens.some((token) => `${text}/`.includes(token));
  const found = new Set<string>();

  const running = await processes();
  const mine = running.filter(
    ({ comm, cwd, argv }) =>
      comm !== DAEMON &&
      (ours(cwd) ||
        argv.some((argument) => ours(argument) || argument === namespace) ||
        (exclusive && PROGRAMS.test(comm))),
  );
  for (const { pid, startTime, comm, argv } of mine) {
    found.add(`process ${pid} (started ${startTime}) ${comm}: ${argv.join(" ").slice(0, 300)}`);
  }
  for (const mount of await mounts(mine.map(({ pid }) => pid))) {
    if (ours(mount) || (exclusive && mount.includes("/run/hull/"))) found.add(`mount ${mount}`);
  }
  for (const path of await unixSockets()) {
    if (ours(path) || (exclusive && /^\/run\/(hull|containerd)\//.test(path))) found.add(`socket ${path}`);
  }
  const directories = [
    state,
    `${directory}/state/io.containerd.runtime.v2.task/${namespace}`,
    `${directory}/state/io.containerd.sandbox.controller.v1.shim/${namespace}`,
    ...(exclusive
      ? ["/run/hull", "/run/containerd/s", "/run/containerd/fifo", "/run/netns", "/dev/shm"]
      : []),
  ];
  for (const directory of directories)
    for (const entry of await directoryEntries(directory)) found.add(`entry ${entry}`);
  for (const link of await directoryEntries("/run/hull")) {
    const pod = await readlink(link).catch(() => ""); // not a symlink, or removed meanwhile
    if (pod.startsWith(`${namespace}/`)) found.add(`user ${link} of ${pod}`);
  }
  for (const path of await cgroups()) {
    if (ours(path.slice(0, path.lastIndexOf("/"))) || belongsToThisTest(path)) found.add(`cgroup ${path}`);
  }
  if (exclusive) for (const link of await links()) found.add(`link ${link}`);
  return found;
}

/**
 * Resolves with what exists now and did not in `before`. Cleanup may continue after the answer to the caller:
 * waits until nothing is left, at most `withinMs`.
 */
export async function leaksSince(
  before: ReadonlySet<string>,
  scope: LeakScope,
  withinMs = 30_000,
): Promise<string[]> {
  const end = performance.now() + withinMs;
  for (;;) {
    const left = [...(await snapshot(scope))].filter((thing) => !before.has(thing));
    if (left.length === 0 || performance.now() > end) return left.sort();
    await sleep(100);
  }
}

/** Fails with the list of what is left. */
export async function assertNoLeaks(
  before: ReadonlySet<string>,
  scope: LeakScope,
  withinMs?: number,
): Promise<void> {
  const left = await leaksSince(before, scope, withinMs);
  assert.deepEqual(left, [], `${left.length} resources were left behind`);
}
