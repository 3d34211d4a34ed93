import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../core/deadline.ts";
import { removePodDirectory } from "./remove-pod-directory.ts";

test("a namespace's directory is removed with its last pod", async () => {
  const root = await mkdtemp(join(tmpdir(), "hull-pods-"));
  try {
    for (const pod of ["a", "b"]) await mkdir(join(root, "namespace", pod, "shared"), { recursive: true });
    await removePodDirectory(join(root, "namespace/a"), Deadline.none());
    assert.ok(existsSync(join(root, "namespace/b/shared")));
    await removePodDirectory(join(root, "namespace/b"), Deadline.none());
    assert.ok(!existsSync(join(root, "namespace")));
    await removePodDirectory(join(root, "namespace/b"), Deadline.none());
  } finally {
    await rm(root, { recursive: true });
  }
});
