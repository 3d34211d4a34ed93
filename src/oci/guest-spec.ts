import { posix } from "node:path";
import { POD_PID_NAMESPACE } from "../core/guest-paths.ts";
import { guestResources } from "./guest-resources.ts";
import type { PodFile } from "./sandbox-request.ts";
import type { OciMount, OciNamespace, OciSpec } from "./spec.ts";

/** What the transformers need to know of the container's place in the guest. */
interface GuestPlace {
  readonly containerId: string;
  /** The root file system's path in the guest. */
  readonly rootfs: string;
  /** CPUs that the guest has. */
  readonly vcpus: number;
  /** Makes a host path available in the guest and answers its path there. */
  share(mount: OciMount): Promise<string>;
  /** The pod's own files; with them the guest's /dev/shm is the pod's. */
  readonly podFiles?: readonly PodFile[];
  /** Where the host keeps the shared memory of the pod; what is mounted from there is the guest's /dev/shm. */
  readonly podShm?: string | undefined;
}

/** One step of turning the host's spec into the guest's; steps neither look at each other nor change their input. */
type Transformer = (spec: OciSpec, place: GuestPlace) => OciSpec | Promise<OciSpec>;

/** The spec as the guest's runtime shall run it, from the spec containerd wrote for the host. */
export async function guestSpec(spec: OciSpec, place: GuestPlace): Promise<OciSpec> {
  let result = spec;
  for (const transform of TRANSFORMERS) result = await transform(result, place);
  return result;
}

/** The root file system lies in the share. */
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
 * The VM is the pod's network; a namespace with a path is the pod's, which in the guest is the VM's own, save for the
 * pid namespace: there the agent and the kernel's threads live. The user namespace maps ids of the host, which the
 * guest does not have.
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
 * The guest has cgroup v2, where a container sees its own limits in /sys/fs/cgroup only from a cgroup namespace. On
 * hosts with v1 nobody asks for one.
 */
function withCgroup(namespaces: readonly OciNamespace[]): readonly OciNamespace[] {
  return namespaces.some(({ type }) => type === "cgroup") ? namespaces : [...namespaces, { type: "cgroup" }];
}

/** A host name needs a uts namespace of the container's own; in a pod the VM has the name already. */
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

/** Limits hold in the guest's cgroups. */
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
 * Host paths that are bind-mounted are shared into the guest; all other file systems are the guest's own. So is the
 * pod's shared memory: the host's would reach the guest as files, not as memory.
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

/** A pod's files and its shared memory, where the container brings none; after the host's mounts have been shared. */
const podMounts: Transformer = async (spec, place) => {
  const files = place.podFiles ?? [];
  if (files.length === 0) return spec;
  // A shared memory of the container's own is only the default of whoever made the spec.
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

/** Whether a mount's source is a path of the host. /sys and /proc binds of privileged containers are the guest's. */
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
