import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findCgroups } from "./find-cgroups.ts";
import type { Hierarchy } from "./hierarchies.ts";

const ID = "5".repeat(64);

test("a pod's cgroups are found by its name, and no others", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "hull-find-cgroups-"));
  t.after(() => rm(root, { recursive: true }));
  const where: Hierarchy[] = [];
  for (const name of ["memory", "unified"]) {
    const mount = join(root, name);
    for (const path of [
      ...["e2e/c1", "e2e/c1/below", "other/c1", "c1", "e2e/c11"],
      ...[`kubepods/burstable/pod1/${ID}`, `kubepods.slice/cri-containerd-${ID}.scope`, `kubepods/${ID}1`],
    ])
      await mkdir(join(mount, path), { recursive: true });
    where.push({ version: 2, mount, controllers: [], own: mount });
  }
  const paths = async (namespace: string, id: string) =>
    (await findCgroups({ namespace, id }, where)).map(({ path, existing }) => [path, existing]).sort();
  assert.deepEqual(await paths("e2e", "c1"), [["/e2e/c1", "/e2e"]]);
  assert.deepEqual(await paths("k8s.io", ID), [
    [`/kubepods.slice/cri-containerd-${ID}.scope`, "/kubepods.slice"],
    [`/kubepods/burstable/pod1/${ID}`, "/kubepods/burstable/pod1"],
  ]);
  assert.deepEqual(await paths("e2e", "c2"), []);
});
