import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmSpec } from "../hypervisor.ts";
import { adviceFor } from "./exit-reason.ts";

const spec = { accel: "tcg", memoryMib: 512, user: { id: 1_500_000_000 } } as VmSpec;

test("known messages of QEMU lead to a remedy", () => {
  const kvm = "Could not access KVM kernel module: No such file or directory";
  assert.match(adviceFor(kvm, { ...spec, accel: "kvm" }), /hypervisor\.accel/);
  const memory = "cannot set up guest memory 'memory': Cannot allocate memory";
  assert.match(adviceFor(memory, spec), /cannot give the guest 512 MiB/);
  const ids = "setpriv: setresuid failed: Invalid argument";
  assert.match(adviceFor(ids, spec), /user 1500000000: .*hypervisor\.rootless: false/);
  const denied = "could not open '/dev/hwrng': Permission denied";
  assert.match(adviceFor(denied, spec), /user 1500000000, which lacks the permission/);
  assert.equal(adviceFor(denied, { ...spec, user: undefined }), "");
  assert.equal(adviceFor("something else", spec), "");
});
