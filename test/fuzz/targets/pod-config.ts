import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PodSandboxConfig } from "../../../src/proto/generated/runtime/v1/pod_sandbox_config.ts";
import { readSandboxRequest } from "../../../src/shim/services/sandbox/request.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

const FULL: PodSandboxConfig = {
  metadata: { name: "pod", uid: "u", namespace: "default" },
  hostname: "pod",
  dnsConfig: { servers: ["10.0.0.10"], searches: ["cluster.local"], options: ["ndots:5"] },
  annotations: { a: "b", "io.hull.config.hypervisor.default_memory": "512" },
  linux: {
    cgroupParent: "/kubepods/pod1",
    securityContext: { namespaceOptions: { network: 0, pid: 1, ipc: 0 } },
    sysctls: { "net.ipv4.ip_forward": "1" },
    resources: { cpuPeriod: 100000n, cpuQuota: 50000n, cpuShares: 512n, memoryLimitInBytes: 1n << 30n },
  },
};

let directory: Promise<string> | undefined;
const inDirectory = () => {
  directory ??= mkdtemp(join(tmpdir(), "hull-fuzz-"));
  return directory;
};

/** CRI's pod configuration in CreateSandbox, and the files that are generated from it. */
export const podConfig: Target = {
  name: "pod-config",
  seeds: [PodSandboxConfig.encode(FULL).finish()],
  tokens: ["kubepods-pod1.slice", "\x0a\x09__proto__\x12\x01x", "/../..", "\n"],
  async run(input) {
    const directory = await inDirectory();
    try {
      const { limits, cgroup, hostname } = await readSandboxRequest(
        {
          sandboxId: "s1",
          bundlePath: "",
          rootfs: [],
          options: { typeUrl: "runtime.v1.PodSandboxConfig", value: input },
          netnsPath: "",
          annotations: {},
        },
        directory,
      );
      for (const limit of Object.values(limits)) assert.ok(limit > 0 && Number.isFinite(limit));
      assert.ok(cgroup === undefined || (cgroup.startsWith("/") && !cgroup.split("/").includes("..")));
      const lines = (await readFile(join(directory, "etc/resolv.conf"), "utf8")).split("\n");
      if (input.length > 0 && hostname !== "s1") assert.ok(lines.length < 4_096);
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
  async close() {
    if (directory) await rm(await directory, { recursive: true });
  },
};
