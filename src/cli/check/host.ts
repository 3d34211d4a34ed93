import { readFile } from "node:fs/promises";
import { freemem, release } from "node:os";
import { readMountInfo } from "../../host/mountinfo.ts";
import { run } from "../../host/run.ts";
import { type Check, type Finding, messageOf } from "./finding.ts";

/** Checks the user, Node's version and the host's kernel. */
export const host: Check = async () => {
  const root = process.geteuid?.() === 0;
  const major = Number(process.versions.node.split(".")[0]);
  return [
    {
      name: "user",
      status: root ? "ok" : "fail",
      detail: root ? "root" : `user ${process.geteuid?.()}`,
      advice: root ? undefined : "run as root, as containerd does",
    },
    {
      name: "node",
      status: major >= 20 ? "ok" : "fail",
      detail: process.versions.node,
      advice: major >= 20 ? undefined : "install Node 20 or newer",
    },
    kernel(release()),
  ];
};

/** Checks the kernel's release (uname(2), `6.1.0-18-amd64`) for open_tree(2) and mount_setattr(2). */
export function kernel(release: string): Finding {
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  const enough = major > 5 || (major === 5 && minor >= 12);
  return {
    name: "kernel",
    status: enough ? "ok" : "fail",
    detail: release,
    advice: enough ? undefined : "hull needs Linux 5.12 or newer",
  };
}

/** Checks that the host has enough memory for one pod of the default size. */
export const memory: Check = async ({ config }) => {
  const free = await readFile("/proc/meminfo", "utf8").then(
    (text) => Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024,
    () => freemem() / 2 ** 20,
  );
  const wanted = config.hypervisor.default_memory;
  const enough = free > wanted;
  return [
    {
      name: "memory",
      status: enough ? "ok" : "fail",
      detail: `${Math.floor(free)} MiB available, a pod needs ${wanted} MiB`,
      advice: enough ? undefined : "free memory or lower hypervisor.default_memory",
    },
  ];
};

/** Reports the host's cgroup hierarchies. */
export const cgroups: Check = async () => {
  const kinds = (await readMountInfo())
    .filter(({ target }) => target.startsWith("/sys/fs/cgroup"))
    .map(({ type }) => type);
  const v2 = kinds.includes("cgroup2");
  const v1 = kinds.includes("cgroup");
  const mode = v1 && v2 ? "hybrid (v1 with an extra v2)" : v2 ? "v2" : v1 ? "v1" : undefined;
  return [
    mode === undefined
      ? { name: "cgroups", status: "fail", detail: "no cgroup file system", advice: "mount /sys/fs/cgroup" }
      : { name: "cgroups", status: "ok", detail: mode },
  ];
};

/** Checks that the kernel has overlayfs, which most container root file systems use, or can load it. */
export const overlay: Check = async ({ deadline }) => {
  const name = "overlay";
  const known = await readFile("/proc/filesystems", "utf8");
  if (/\toverlay$/m.test(known)) return [{ name, status: "ok", detail: "known to the kernel" }];
  try {
    await run(["modprobe", "--dry-run", "--quiet", "overlay"], deadline);
    return [{ name, status: "ok", detail: "can be loaded" }];
  } catch {
    const advice = "install the kernel's modules, or use a snapshotter without overlay";
    return [{ name, status: "missing", detail: "the kernel has no overlay file system", advice }];
  }
};

/** Commands that connect a pod's interface to the VM, by model (ip-link(8), tc-u32(8), tc-mirred(8)). */
const MODELS = {
  tcfilter: {
    name: "network tcfilter",
    script: [
      "ip tuntap add dev hull-a mode tap",
      "ip tuntap add dev hull-b mode tap",
      "tc qdisc add dev hull-a ingress",
      "tc filter add dev hull-a parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev hull-b",
    ],
    detail: "tap, ingress qdisc, u32 filter and mirred action work",
    advice: "load the kernel modules tun, sch_ingress, cls_u32 and act_mirred",
  },
  macvtap: {
    name: "network macvtap",
    script: [
      "ip link add hull-a type veth peer name hull-b",
      "ip link add link hull-a name hull-c type macvtap mode passthru",
    ],
    detail: "a macvtap can be created over an interface",
    advice: "load the kernel module macvtap, or set runtime.internetworking_model: tcfilter",
  },
} as const;

/** Checks that the configured networking model works, by trying it in a new network namespace. */
export const networkModel: Check = async ({ config, deadline }) => {
  const model = config.runtime.internetworking_model;
  if (model === "none") return [];
  const { name, script, detail, advice } = MODELS[model];
  try {
    await run(["unshare", "--net", "sh", "-ec", script.join("\n")], deadline);
    return [{ name, status: "ok", detail }];
  } catch (thrown) {
    return [{ name, status: "fail", detail: messageOf(thrown), advice }];
  }
};
