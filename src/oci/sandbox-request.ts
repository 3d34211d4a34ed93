import { invalidArgument } from "../core/errors.ts";
import { cgroupDirectory } from "../resources/cgroup-path.ts";
import { limitsOfAnnotations, limitsOfResources, type PodLimits } from "../resources/pod-limits.ts";
import { containerKind } from "./container-kind.ts";
import type { OciSpec } from "./spec.ts";

/** What a client asks of a new sandbox. */
export interface SandboxRequest {
  readonly hostname: string;
  /** Path of the pod's network namespace; undefined = a new one with nothing but loopback. */
  readonly netns: string | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
  /** The pod's limits, which set the VM's size. */
  readonly limits: PodLimits;
  /** The pod's cgroup, an absolute path in every hierarchy of the host; undefined = none of its own. */
  readonly cgroup?: string | undefined;
  /** The pod's shared memory on the host: the guest's gets its size. */
  readonly shmSource?: string;
  /** The pod's annotations; some may set configuration keys. */
  readonly annotations: Readonly<Record<string, string>>;
  /** The pod's usual files (hosts, resolv.conf), if the client does not mount them into its containers. */
  readonly files?: readonly PodFile[];
}

/** A file on the host that every container of the pod sees, unless it has its own mount there. */
export interface PodFile {
  readonly source: string;
  readonly destination: string;
}

/** Namespaces that a pod may ask to share with the host, with their names in error messages. */
const OF_THE_HOST = { network: "network", pid: "process ids", ipc: "IPC" } as const;
type HostNamespace = keyof typeof OF_THE_HOST;

/** Throws InvalidArgument, because a VM cannot share the host's namespace. */
export function refuseHostNamespace(namespace: HostNamespace): never {
  const what = OF_THE_HOST[namespace];
  const asked = namespace === "network" ? "host networking" : `the host's ${namespace} namespace`;
  throw invalidArgument(
    `the host's ${what} cannot be shared with a VM; remove ${asked}, or run this pod with runc`,
  );
}

/**
 * Reads what a pod's spec (its first container's, or the sandbox's own) asks of the VM. Throws
 * InvalidArgument.
 */
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
    // A pod's sysctls are the VM's. A single container sets all but the network's in its own namespaces.
    sysctls: Object.fromEntries(
      Object.entries(spec.linux?.sysctl ?? {}).filter(([name]) => pod || name.startsWith("net.")),
    ),
    annotations: spec.annotations ?? {},
    // A pause container's resources do not say anything about the pod.
    limits: pod ? limitsOfAnnotations(spec.annotations ?? {}) : limitsOfResources(spec.linux?.resources),
    cgroup: cgroupDirectory(spec.linux?.cgroupsPath),
    ...(shmSource !== undefined && { shmSource }),
  };
}
