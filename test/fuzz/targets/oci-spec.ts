import assert from "node:assert/strict";
import { containerKind } from "../../../src/oci/container-kind.ts";
import { guestDevices } from "../../../src/oci/guest-devices.ts";
import { guestResources, requireFits } from "../../../src/oci/guest-resources.ts";
import { guestSpec } from "../../../src/oci/guest-spec.ts";
import { sandboxRequest } from "../../../src/oci/sandbox-request.ts";
import { type OciSpec, parseResources, parseSpec } from "../../../src/oci/spec.ts";
import { podOf } from "../../../src/shim/bootstrap/membership.ts";
import { jsonAny } from "../../../src/shim/services/conversions.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

/** With every field that hull reads. */
const SPEC = {
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
    "io.kubernetes.cri.sandbox-id": "s1",
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
};

/**
 * A container's config.json: accepted, or refused as invalid; the guest's spec contains nothing of the host.
 */
export const ociSpec: Target = {
  name: "oci-spec",
  seeds: [
    JSON.stringify(SPEC),
    JSON.stringify({ ...SPEC, linux: {}, annotations: {} }),
    JSON.stringify({ ...SPEC, annotations: {} }),
  ],
  tokens: [
    "1e999",
    '"quota":1e300',
    '"container"',
    '"sandbox"',
    '"path"',
    "null",
    '"rbind"',
    '"/dev/shm"',
    '"cpus":"0-4294967295"',
    '"type":',
  ],
  async run(input) {
    const text = input.toString("utf8");
    try {
      const spec = parseSpec(text, "config.json");
      samePod(text, spec);
      const { limits, cgroup } = sandboxRequest(spec, "p");
      for (const limit of Object.values(limits)) assert.ok(limit > 0 && Number.isFinite(limit));
      assert.ok(cgroup === undefined || (cgroup.startsWith("/") && !cgroup.split("/").includes("..")));
      await checkGuestSpec(spec);
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};

/** The resources of an Update. */
export const update: Target = {
  name: "update",
  seeds: [JSON.stringify(SPEC.linux.resources)],
  tokens: ["null", "1e999", '"cpus":"0-4294967295"', '"quota":-1'],
  run(input) {
    try {
      const what = "update container c";
      const any = { typeUrl: "x/runtime-spec/1/LinuxResources", value: input };
      const resources = parseResources(jsonAny(what, any, "LinuxResources"), what);
      requireFits("c", resources, { vcpus: 2, memoryMib: 64 });
      const { cpu } = guestResources(resources, { vcpus: 2 });
      assert.match(cpu?.cpus ?? "0", /^[01](-1)?(,[01](-1)?)*$/);
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument", "FailedPrecondition");
    }
  },
};

async function checkGuestSpec(spec: OciSpec): Promise<void> {
  const result = await guestSpec(guestDevices(spec).spec, {
    containerId: "c",
    rootfs: "/run/hull/rootfs",
    vcpus: 1,
    share: async ({ destination }) => `/run/hull${destination}`,
    podFiles: [{ source: "/run/hull/hosts", destination: "/etc/hosts" }],
  });
  assert.equal(result.root?.path, "/run/hull/rootfs");
  assert.equal(result.hooks, undefined);
  assert.equal(result.linux?.cgroupsPath, "/hull/c");
  assert.ok(!result.linux?.namespaces?.some(({ type }) => type === "network" || type === "user"));
  assert.ok(Object.keys(result.linux?.sysctl ?? {}).every((name) => !name.startsWith("net.")));
}

/** The launcher and the daemon each read the pod of a container from the spec: the results must be equal. */
function samePod(text: string, spec: OciSpec): void {
  const daemon = outcomeOf(() => {
    const found = containerKind(spec.annotations);
    return found.kind === "container" ? found.sandboxId : "c";
  });
  const launcher = outcomeOf(() => podOf("c", text));
  // The launcher is stricter, since it uses the id as a path component.
  if (launcher !== undefined) assert.equal(launcher, daemon);
}

function outcomeOf(read: () => string): string | undefined {
  try {
    return read();
  } catch (thrown) {
    refusal(thrown, "InvalidArgument");
    return undefined;
  }
}
