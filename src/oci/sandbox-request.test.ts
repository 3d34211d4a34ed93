import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../core/errors.ts";
import { sandboxRequest } from "./sandbox-request.ts";

const all = ["network", "pid", "ipc", "mount"].map((type) => ({ type }));
const pod = { "io.kubernetes.cri.container-type": "sandbox" };
const sysctl = { "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" };
const shm = { destination: "/dev/shm", type: "bind", source: "/run/sandboxes/p/shm" };

test("a pod's sysctls and shared memory are the VM's; a single container's are not", () => {
  const spec = { linux: { namespaces: all, sysctl }, mounts: [shm] };
  const ofPod = sandboxRequest({ ...spec, annotations: pod }, "p");
  assert.deepEqual([ofPod.sysctls, ofPod.shmSource], [sysctl, shm.source]);
  const single = sandboxRequest(spec, "p");
  assert.deepEqual([single.sysctls, single.shmSource], [{ "net.ipv4.ip_forward": "1" }, undefined]);
});

for (const missing of ["network", "pid", "ipc"]) {
  test(`the host's ${missing} namespace is refused`, () => {
    const namespaces = all.filter(({ type }) => type !== missing);
    assert.throws(
      () => sandboxRequest({ linux: { namespaces } }, "p"),
      (error) =>
        error instanceof HullError &&
        error.code === "InvalidArgument" &&
        /cannot be shared with a VM/.test(error.message),
    );
  });
}
