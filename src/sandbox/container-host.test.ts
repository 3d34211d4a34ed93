import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeSandbox } from "../../test/testkit/fake-sandbox.ts";
import { within } from "../../test/testkit/within.ts";
import type { OciMount } from "../oci/spec.ts";
import { ContainerHost } from "./container-host.ts";
import type { ContainerShare } from "./sandbox.ts";

/** A sandbox in which releasing one disk fails until `busy` is false. */
class BusySandbox extends FakeSandbox {
  busy = true;
  tries = 0;

  override async plugDisk(...[disk]: Parameters<FakeSandbox["plugDisk"]>) {
    const plugged = await super.plugDisk(disk);
    const held = "major" in disk.source && disk.source.minor === 1;
    const unplug = async () => {
      this.tries++;
      if (held && this.busy) throw new Error("the disk is busy");
      await plugged.unplug();
    };
    return { ...plugged, unplug };
  }
}

const SOURCE = { mounts: [], path: "/rootfs", readOnly: false };

test("the guest kernel's modules, which pods share, are read-only", async () => {
  const mounts: OciMount[] = [];
  const sandbox = new FakeSandbox();
  const share: ContainerShare = {
    add: async (...given) => {
      const shared = await sandbox.share.add(...given);
      const bind = async (mount: OciMount) => {
        mounts.push(mount);
        return await shared.bind(mount);
      };
      return { ...shared, bind };
    },
  };
  const host = new ContainerHost(Object.create(sandbox, { share: { value: share } }), "c");
  await host.prepare(SOURCE, () => undefined, within(30_000));
  assert.equal(await host.shareModules(), "/run/hull/shared/c/hull/guest/modules");
  assert.equal(mounts[0]?.source, "/hull/guest/modules");
  assert.ok(mounts[0]?.options?.includes("ro"));
});

test("a disk that cannot be released does not block the rest; only it is retried", async () => {
  const sandbox = new BusySandbox();
  const deadline = within(30_000);
  const host = new ContainerHost(sandbox, "c");
  await host.prepare(SOURCE, () => undefined, deadline);
  for (const minor of [0, 1, 2])
    await host.plug({ path: `/dev/${minor}`, access: "rw", major: 8, minor }, deadline);
  await assert.rejects(host.release(), /the disk is busy/);
  assert.deepEqual([[...sandbox.disks], [...sandbox.shared], sandbox.tries], [["8:1"], [], 3]);
  sandbox.busy = false;
  await host.release();
  await host.release();
  assert.deepEqual([[...sandbox.disks], sandbox.tries], [[], 4]);
});
