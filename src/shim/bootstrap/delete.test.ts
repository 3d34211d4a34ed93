import assert from "node:assert/strict";
import { test } from "node:test";
import { socketAnswers } from "./liveness.ts";
import { PodPaths } from "./pod-paths.ts";
import type { Sys } from "./sys.ts";
import { mountsBelow } from "./unmount-rootfs.ts";

test("a daemon that is exiting does not answer, although its socket still listens", () => {
  const stat = (state: string, flags: number, startTime: number) =>
    `7 (a) b) ${state} 1 1 1 0 -1 ${flags} ${"0 ".repeat(12)}${startTime} 0 0\n`;
  const answers = (pidFile: string | undefined, process: string | undefined) => {
    const files: Record<string, string | undefined> = {
      [paths.pid]: pidFile,
      "/proc/7/stat": process,
    };
    const sys = {
      unixConnect: () => 3,
      close: () => undefined,
      readFile: (path: string) => {
        const text = files[path];
        if (text === undefined) throw Object.assign(new Error(path), { code: "ENOENT" });
        return new TextEncoder().encode(text);
      },
    };
    return socketAnswers(sys as unknown as Sys, paths);
  };
  const paths = new PodPaths("ns", "c1");
  assert.equal(answers(undefined, undefined), true); // `start` has not recorded it yet
  assert.equal(answers("7 99\n", stat("S", 0x400000, 99)), true);
  assert.equal(answers("7 99\n", stat("R", 0x400004, 99)), false);
  assert.equal(answers("7 99\n", stat("Z", 0x400004, 99)), false);
  assert.equal(answers("7 99\n", stat("S", 0x400000, 100)), false);
  assert.equal(answers("7 99\n", undefined), false);
});

test("rootfs mounts are not unmounted by a path inside another mount", () => {
  const info = (...paths: string[]) =>
    paths.map((path, i) => `${i} 1 0:1 / ${path} rw - tmpfs tmpfs rw`).join("\n");
  const stacked = info("/", "/b/rootfs", "/b/rootfs/a\\040b", "/b/rootfs2", "/b/rootfs");
  assert.deepEqual(mountsBelow(stacked, "/b/rootfs"), ["/b/rootfs", "/b/rootfs"]);
  const inner = info("/", "/b/rootfs/a\\040b", "/b/rootfs/a\\040b/c", "/b/rootfs/d");
  assert.deepEqual(mountsBelow(inner, "/b/rootfs"), ["/b/rootfs/a b", "/b/rootfs/d"]);
});
