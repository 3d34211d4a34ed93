/** Cloud Hypervisor as an unprivileged user; in a pod, with devices and a network: test/e2e/handlers.e2e.test.ts. */
import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type FakeMachine, fakeMachine } from "../../../test/testkit/cloud-hypervisor-machine.ts";
import type { Script } from "../../../test/testkit/fake-cloud-hypervisor.ts";
import { within } from "../../../test/testkit/within.ts";
import type { VmSpec } from "../hypervisor.ts";
import { CloudHypervisor } from "./driver.ts";

const user = { id: 1_500_000_005 };

/** A VM in a directory that only root may search, with a directory of the VM user's for the vsock socket. */
function machine(t: TestContext, script: Script, change: Partial<VmSpec> = {}): FakeMachine {
  const fake = fakeMachine(script, { user, ...change });
  t.after(() => fake.dispose());
  const { directory, vsock } = fake.spec;
  chownSync(directory, 0, user.id);
  chmodSync(directory, 0o710);
  assert.equal(statSync(fake.directory).mode & 0o777, 0o700);
  assert.equal(vsock?.kind, "hybrid");
  const own = join(directory, "clh");
  mkdirSync(own);
  chownSync(own, user.id, user.id);
  return { ...fake, spec: { ...fake.spec, vsock: { kind: "hybrid", cid: 3, socket: join(own, "vs") } } };
}

test("it has no capabilities, can use the VM's files, and leaves nothing behind", async (t) => {
  const fake = machine(t, { checkHost: false });
  const vm = await new CloudHypervisor().boot(fake.spec, fake.context());
  t.after(() => vm.stop(within(30_000)));
  const status = readFileSync(`/proc/${vm.pid}/status`, "utf8");
  for (const ids of ["Uid", "Gid"])
    assert.match(status, RegExp(`^${ids}:\t${Array(4).fill(user.id).join("\t")}$`, "m"));
  assert.match(status, /^Groups:\t *$/m);
  for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"])
    assert.match(status, RegExp(`^Cap${set}:\t0+$`, "m"));
  assert.match(status, /^NoNewPrivs:\t1$/m);
  assert.equal((await vm.info(within(30_000))).state, "Running");
  const socket = join(fake.spec.directory, "clh/vs");
  assert.equal(statSync(socket).uid, user.id);
  const connection = connect(socket);
  await new Promise((resolve, reject) => connection.once("connect", resolve).once("error", reject));
  connection.destroy();
  const disk = join(fake.spec.directory, "disk");
  writeFileSync(disk, "");
  await vm.plug({ kind: "disk", path: disk, readOnly: false, serial: "data" }, within(30_000));
  const [plugged] = (await vm.info(within(30_000))).config.disks as { path: string }[];
  assert.match(plugged?.path ?? "", /^\/proc\/self\/fd\/\d+\/disk$/);
  await vm.stop(within(30_000));
  assert.deepEqual(fake.ledger.resources, []);
  assert.deepEqual(readdirSync(join(fake.spec.directory, "clh")), []);
});

test("the error for a file that its user may not open names the configuration key", async (t) => {
  const entropySource = join("/dev/shm", `hull-clh-rng-${process.pid}`);
  writeFileSync(entropySource, "", { mode: 0o600 });
  const fake = machine(t, {}, { entropySource });
  t.after(() => rmSync(entropySource));
  await assert.rejects(new CloudHypervisor().boot(fake.spec, fake.context()), {
    code: "Internal",
    message: /Failed to open .*Permission denied.*runs as user 1500000005, .* hypervisor\.rootless/,
  });
  assert.deepEqual(fake.ledger.resources, []);
});

test("a clone is refused before anything is created", async (t) => {
  const fake = machine(t, {});
  await assert.rejects(new CloudHypervisor().restore("/no/template", fake.spec, fake.context()), {
    code: "FailedPrecondition",
    message: /hypervisor\.rootless: false/,
  });
  assert.deepEqual(fake.ledger.history, []);
});
