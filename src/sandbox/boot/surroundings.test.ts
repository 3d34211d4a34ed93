/** The first phase of a boot: components that are created concurrently, some of which fail. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeBoot, fakeBoot } from "../../../test/testkit/fake-boot.ts";
import { deferred } from "../../core/deferred.ts";
import { unavailable } from "../../core/errors.ts";
import type { Parts } from "./parts.ts";
import { prepareSurroundings } from "./surroundings.ts";

const NAMES = ["cgroup", "user", "directory", "hypervisor", "network", "share", "vsock", "nodes"] as const;
type Name = (typeof NAMES)[number];

/** Fakes that take a turn of the event loop each; `failing` fails. `made` and `released` record the order. */
function makers(boot: FakeBoot, failing?: Name) {
  const made: Name[] = [];
  const released: Name[] = [];
  const make = (name: Name) => async () => {
    await new Promise(setImmediate);
    if (name === failing) throw unavailable(`${name} failed`);
    made.push(name);
    const release = async () => void released.push(name);
    if (name !== "cgroup") boot.disposer.push(name, release);
    return { name, path: `/${name}`, release };
  };
  const parts = Object.fromEntries(NAMES.map((name) => [name, make(name)])) as unknown as Parts;
  return { parts, made, released };
}

test("every component is created once, and released in reverse order", async () => {
  const boot = await fakeBoot();
  const { parts, made, released } = makers(boot);
  const around = await prepareSurroundings(boot, parts);
  assert.deepEqual([...made].sort(), [...NAMES].sort());
  assert.equal(around.vmm, process.execPath);
  assert.deepEqual(around.network, { ...around.network, name: "network" });
  await boot.disposer.dispose();
  assert.deepEqual([...released].sort(), [...NAMES].sort());
  // The driver comes first: a probe of KVM must not be subject to the pod's limits.
  assert.equal(made[0], "hypervisor");
  assert.deepEqual(released.slice(-4), ["directory", "user", "cgroup", "hypervisor"]);
});

for (const failing of NAMES) {
  test(`if ${failing} fails, the boot fails with its error and releases the rest`, async () => {
    const boot = await fakeBoot();
    const { parts, made, released } = makers(boot, failing);
    await assert.rejects(prepareSurroundings(boot, parts), { message: `${failing} failed` });
    const known = [...made];
    await boot.disposer.dispose();
    assert.deepEqual([...released].sort(), [...made].sort());
    // Only the cgroup may come after the failure: its release waits for it.
    assert.deepEqual(
      made.filter((name) => !known.includes(name) && name !== "cgroup"),
      [],
    );
  });
}

test("a cgroup that is entered after another component has failed is released, too", async () => {
  const boot = await fakeBoot();
  const { parts, released } = makers(boot, "directory");
  const entered = deferred<void>();
  const { cgroup } = parts;
  const late = { ...parts, cgroup: () => entered.promise.then(() => cgroup(boot)) };
  await assert.rejects(prepareSurroundings(boot, late), /directory failed/);
  const disposed = boot.disposer.dispose();
  entered.resolve();
  await disposed;
  assert.deepEqual(released, ["user", "cgroup", "hypervisor"]);
});

test("a program that does not exist is named with its key, before anything is opened", async () => {
  const boot = await fakeBoot("", {});
  const { config } = boot.context;
  const hypervisor = { ...config.hypervisor, virtio_fs_daemon: "/no/virtiofsd" };
  const without = { ...boot, context: { ...boot.context, config: { ...config, hypervisor } } };
  const { parts, made } = makers(boot);
  await assert.rejects(
    prepareSurroundings(without, parts),
    /hypervisor\.virtio_fs_daemon: \/no\/virtiofsd does not exist/,
  );
  assert.ok(!made.includes("network") && !made.includes("share"));
  await boot.disposer.dispose();
});
