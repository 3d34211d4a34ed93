import assert from "node:assert/strict";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { holdOpen } from "../../test/testkit/hold-open.ts";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { ownMountApi } from "../../test/testkit/mount-api.ts";
import { within } from "../../test/testkit/within.ts";
import { deferred } from "../core/deferred.ts";
import { Disposer } from "../core/disposer.ts";
import type { VmExit } from "../hypervisor/hypervisor.ts";
import { SandboxDisks } from "./disks.ts";

test("a loop device that the VMM does not close is kept for the container until the VM exits", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-disks-"));
  t.after(() => rm(directory, { recursive: true }));
  const image = join(directory, "image");
  await writeFile(image, "");
  await truncate(image, 1 << 20);
  const ledger = new MemoryLedger();
  const logged: string[] = [];
  let device = "";
  const nodes = {
    add: async (_: string, path: string) => {
      device = path;
      return path;
    },
    remove: async () => undefined,
  };
  const untilEnd = new Disposer();
  const exited = deferred<VmExit>();
  const unpluggable = { unplug: async () => undefined, pciPath: async () => "01.0" };
  const vm = { plug: async () => unpluggable, exited: exited.promise };
  const log = (message: string) => void logged.push(message);
  const disks = new SandboxDisks(vm, {
    nodes,
    mounts: ownMountApi(),
    ledger,
    kept: untilEnd,
    directory,
    log,
  });
  const plugged = await disks.plug({ source: { path: image, image: true }, readOnly: false }, within(30_000));
  const release = await holdOpen(t, device);
  const kept = [{ kind: "loop", file: image, device }];
  await plugged.unplug();
  assert.deepEqual([logged, ledger.resources], [["disk: its loop device stays until the VM ends"], kept]);
  release();
  exited.resolve({ reason: "it was killed", requested: false, console: "", stderr: "" });
  await untilEnd.dispose(within(30_000));
  assert.deepEqual(ledger.resources, []);
  await untilEnd.dispose(within(30_000));
});
