import { posix } from "node:path";
import { POD_PID_NAMESPACE } from "../core/guest-paths.ts";
import { guestResources } from "./guest-resources.ts";
import type { PodFile } from "./sandbox-request.ts";
import type { OciMount, OciNamespace, OciSpec } from "./spec.ts";

/** Where and in which VM the container runs. */
interface GuestPlace {
  readonly containerId: string;
  /** The root file system's path in the guest. */
  readonly rootfs: string;
  /** The guest's number of CPUs. */
  readonly vcpus: number;
  /** Makes a mount's source available in the guest; resolves to its path there. */
  share(mount: OciMount): Promise<string>;
  /** The pod's own files. If there are any, the guest's /dev/shm is the pod's, too. */
  readonly podFiles?: readonly PodFile[];
  /** The pod's shared memory on the host; mounts of it become mounts of the guest's /dev/shm. */
  readonly podShm?: string | undefined;
}

/**
 * One step from the host's spec to the guest's. It does not depend on other steps and does not change its
 * input.
 */
type Transformer = (spec: OciSpec, place: GuestPlace) => OciSpec | Promise<OciSpec>;

/** Returns the spec for the guest's runtime, from the one that containerd wrote for the host. */
export async function guestSpec(spec: OciSpec, place: GuestPlace): Promise<OciSpec> {
  let result = spec;
  for (const transform of TRANSFORMERS) result = await transform(result, place);
  return result;
}

/** The root file system is in the share. */
const rootInShare: Transformer = (spec, place) => ({
  ...spec,
  root: { ...spec.root, path: place.rootfs },
});

/** Hooks are programs of the host. */
const withoutHooks: Transformer = ({ hooks: _, ...spec }) => spec;

/** The host's security modules do not exist in the guest. */
const withoutHostLabels: Transformer = (spec) => {
  const { apparmorProfile: _a, selinuxLabel: _s, ...process } = spec.process ?? {};
  const { mountLabel: _m, intelRdt: _r, ...linux } = spec.linux ?? {};
  return { ...spec, process, linux };
};

/**
 * A namespace with a path is the pod's, which is the VM's own; except for PIDs: the VM's own has the agent
 * and the kernel threads. User namespaces map IDs of the host, which the guest does not have.
 */
const guestNamespaces: Transformer = (spec) => ({
  ...spec,
  linux: {
    ...spec.linux,
    namespaces: withCgroup(spec.linux?.namespaces ?? [])
      .map((one) => (one.type === "pid" && one.path ? { ...one, path: POD_PID_NAMESPACE } : one))
      .filter(
        ({ type, path }) =>
          (!path || type === "pid") && type !== "network" && type !== "user" && type !== "time",
      ),
  },
});

/**
 * The guest has cgroup v2, where a container sees its own limits in /sys/fs/cgroup only from a cgroup
 * namespace. Clients on hosts with cgroup v1 do not ask for one.
 */
function withCgroup(namespaces: readonly OciNamespace[]): readonly OciNamespace[] {
  return namespaces.some(({ type }) => type === "cgroup") ? namespaces : [...namespaces, { type: "cgroup" }];
}

/** A host name needs the container's own UTS namespace; in a pod, the VM already has the name. */
const hostnameWithUts: Transformer = (spec) => {
  if (spec.linux?.namespaces?.some(({ type }) => type === "uts")) return spec;
  const { hostname: _, ...rest } = spec;
  return rest;
};

/** Network sysctls are the pod's: the agent sets them in the VM. */
const podSysctls: Transformer = (spec) => ({
  ...spec,
  linux: {
    ...spec.linux,
    sysctl: Object.fromEntries(
      Object.entries(spec.linux?.sysctl ?? {}).filter(([name]) => !name.startsWith("net.")),
    ),
  },
});

/** The guest has its own cgroup tree. */
const guestCgroup: Transformer = (spec, place) => ({
  ...spec,
  linux: { ...spec.linux, cgroupsPath: `/hull/${place.containerId}` },
});

/** Limits are enforced by the guest's cgroups. */
const guestLimits: Transformer = (spec, place) => {
  const resources = spec.linux?.resources;
  return resources
    ? { ...spec, linux: { ...spec.linux, resources: guestResources(resources, place) } }
    : spec;
};

const GUEST_SHM = {
  type: "bind",
  source: "/dev/shm",
  options: ["rbind", "rw", "nosuid", "nodev", "noexec"],
} as const;

/**
 * Bind mounts of host paths are shared into the guest; all other file systems are the guest's own. So is the
 * pod's shared memory: the host's would be files in the guest, not memory.
 */
const guestMounts: Transformer = async (spec, place) => ({
  ...spec,
  mounts: await Promise.all(
    (spec.mounts ?? []).map(async (mount) => {
      if (mount.source !== undefined && mount.source === place.podShm) return { ...mount, ...GUEST_SHM };
      if (!isHostBind(mount)) return mount;
      return { ...mount, source: await place.share(mount) };
    }),
  ),
});

/** Adds the pod's files and shared memory unless the container mounts its own. Runs after `guestMounts`. */
const podMounts: Transformer = async (spec, place) => {
  const files = place.podFiles ?? [];
  if (files.length === 0) return spec;
  // A tmpfs there is only the default of the client that wrote the spec.
  const mounts = (spec.mounts ?? []).filter(
    ({ destination, type }) => destination !== "/dev/shm" || type !== "tmpfs",
  );
  const missing = (destination: string) => !mounts.some((mount) => mount.destination === destination);
  for (const { source, destination } of files.filter((file) => missing(file.destination))) {
    const mount = { destination, type: "bind", source, options: ["rbind", "rprivate"] };
    mounts.push({ ...mount, source: await place.share(mount) });
  }
  if (missing("/dev/shm")) {
    mounts.push({ destination: "/dev/shm", ...GUEST_SHM });
  }
  return { ...spec, mounts };
};

const TRANSFORMERS: readonly Transformer[] = [
  rootInShare,
  withoutHooks,
  withoutHostLabels,
  guestNamespaces,
  hostnameWithUts,
  podSysctls,
  guestCgroup,
  guestLimits,
  guestMounts,
  podMounts,
];

/**
 * Whether a mount's source is a path on the host. Privileged containers' binds of /sys and /proc are the
 * guest's.
 */
function isHostBind(mount: OciMount): boolean {
  const bind =
    mount.type === "bind" || mount.options?.some((option) => option === "bind" || option === "rbind");
  if (!bind || !mount.source) return false;
  const source = posix.normalize(mount.source);
  return (
    !["/sys", "/proc", "/dev"].some((tree) => source === tree || source.startsWith(`${tree}/`)) ||
    source === "/dev/shm"
  );
}
