import { invalidArgument } from "../core/errors.ts";
import { cgroupDirectory } from "../resources/cgroup-path.ts";
import { limitsOfAnnotations, limitsOfResources, type PodLimits } from "../resources/pod-limits.ts";
import { containerKind } from "./container-kind.ts";
import type { OciSpec } from "./spec.ts";

/** What a sandbox is made from. */
export interface SandboxRequest {
  readonly hostname: string;
  /** Path of the pod's network namespace; undefined = one of its own with nothing but loopback. */
  readonly netns: string | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
  /** What the VM is sized by. */
  readonly limits: PodLimits;
  /** The pod's cgroup, absolute within every hierarchy of the host; undefined = none of its own. */
  readonly cgroup?: string | undefined;
  /** Where the host keeps the pod's shared memory: the guest's gets its size. */
  readonly shmSource?: string;
  /** The pod's annotations; some may set configuration keys. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Given where nobody mounts a pod's usual files (hosts, resolv.conf) into its containers. */
  readonly files?: readonly PodFile[];
}

/** A file of the host that every container of the pod sees, unless it mounts something there itself. */
export interface PodFile {
  readonly source: string;
  readonly destination: string;
}

/** Namespaces of the host that some pods ask to live in, as messages name them. */
const OF_THE_HOST = { network: "network", pid: "process ids", ipc: "IPC" } as const;
type HostNamespace = keyof typeof OF_THE_HOST;

/** Throws InvalidArgument: what the host has cannot be had in a VM. */
export function refuseHostNamespace(namespace: HostNamespace): never {
  const what = OF_THE_HOST[namespace];
  const asked = namespace === "network" ? "host networking" : `the host's ${namespace} namespace`;
  throw invalidArgument(
    `the host's ${what} cannot be shared with a VM; remove ${asked}, or run this pod with runc`,
  );
}

/** What an OCI spec says of the pod: that of its first container, or the sandbox's own. Throws InvalidArgument. */
export function sandboxRequest(spec: OciSpec, id: string): SandboxRequest {
  const namespaces = spec.linux?.namespaces;
  for (const type of Object.keys(OF_THE_HOST) as HostNamespace[]) {
    if (namespaces && !namespaces.some((namespace) => namespace.type === type)) refuseHostNamespace(type);
  }
  const pod = containerKind(spec.annotations).kind === "sandbox";
  const shmSource = pod
    ? spec.mounts?.find(({ destination, type }) => destination === "/dev/shm" && type === "bind")?.source
    : undefined;
  return {
    hostname: spec.hostname || id.slice(0, 12),
    netns: namespaces?.find(({ type }) => type === "network")?.path,
    // A pod's are the VM's; a container of its own sets all but the network's in its own namespaces.
    sysctls: Object.fromEntries(
      Object.entries(spec.linux?.sysctl ?? {}).filter(([name]) => pod || name.startsWith("net.")),
    ),
    annotations: spec.annotations ?? {},
    // The resources of a pause container are its own, which it does not need.
    limits: pod ? limitsOfAnnotations(spec.annotations ?? {}) : limitsOfResources(spec.linux?.resources),
    cgroup: cgroupDirectory(spec.linux?.cgroupsPath),
    ...(shmSource !== undefined && { shmSource }),
  };
}
