import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HullError } from "../../src/core/errors.ts";
import { guestDevices } from "../../src/pod/guest-devices.ts";
import { guestSpec } from "../../src/pod/guest-spec.ts";
import { parseSpec } from "../../src/pod/oci-spec.ts";
import { sandboxRequest } from "../../src/pod/sandbox-request.ts";
import { mutateText, mutations, numRuns } from "./mutations.ts";

/** With everything that hull looks at. */
const SPEC = JSON.stringify({
  ociVersion: "1.1.0",
  hostname: "h",
  root: { path: "rootfs", readonly: true },
  process: { terminal: false, cwd: "/", args: ["true"], apparmorProfile: "p", selinuxLabel: "l" },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/etc/hosts", type: "bind", source: "/var/hosts", options: ["rbind", "ro"] },
  ],
  hooks: { prestart: [{ path: "/bin/true" }] },
  annotations: {
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-memory": "1048576",
  },
  linux: {
    namespaces: [
      { type: "pid" },
      { type: "ipc" },
      { type: "network", path: "/var/run/netns/n" },
      { type: "mount" },
    ],
    cgroupsPath: "/kubepods/pod1/c1",
    sysctl: { "net.ipv4.ip_forward": "1", "kernel.msgmax": "2" },
    devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3 }],
    resources: {
      devices: [{ allow: true, type: "b", major: 7, minor: 0, access: "rw" }],
      memory: { limit: 1048576 },
      cpu: { shares: 2, quota: 100, period: 1000, cpus: "0-3", mems: "0" },
      hugepageLimits: [{ pageSize: "2MB", limit: 1 }],
      unified: { "memory.high": "1" },
    },
  },
});

test("damaged OCI specs are taken or refused as the caller's fault", async () => {
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(mutations, async (list) => {
      const text = mutateText(SPEC, list);
      try {
        const spec = parseSpec(text, "config.json");
        sandboxRequest(spec, "p");
        await guestSpec(guestDevices(spec).spec, {
          containerId: "c",
          rootfs: "/run/hull/rootfs",
          vcpus: 1,
          share: async ({ destination }) => `/run/hull${destination}`,
          podFiles: [{ source: "/run/hull/hosts", destination: "/etc/hosts" }],
        });
        taken++;
      } catch (thrown) {
        assert.ok(thrown instanceof HullError, `not refused but broken: ${(thrown as Error).stack}: ${text}`);
        assert.equal(thrown.code, "InvalidArgument", thrown.message);
        assert.ok(thrown.message.length < 2_000 + text.length);
      }
    }),
    { numRuns: numRuns * 10 },
  );
  assert.ok(taken > 0, "every spec was refused: nothing was tried");
  assert.equal(Object.hasOwn(Object.prototype, "polluted"), false);
});
