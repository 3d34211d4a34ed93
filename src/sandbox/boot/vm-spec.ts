import { availableParallelism, totalmem } from "node:os";
import type { Config } from "../../config/schema/schema.ts";
import { largestAssignable } from "../../host/pci-device.ts";
import type { ProcessUser } from "../../host/process-user.ts";
import type {
  AssignablePorts,
  Growth,
  NicDevice,
  ShareDevice,
  VmSpec,
  VsockDevice,
} from "../../hypervisor/hypervisor.ts";
import type { SizingRule, VmSize } from "../../resources/sizing.ts";

/** What a VM's spec needs in addition to the configuration. */
interface VmSurroundings {
  readonly name: string;
  /** The VMM's executable. */
  readonly path: string;
  readonly directory: string;
  readonly user?: ProcessUser | undefined;
  readonly netns: string | undefined;
  readonly accel: VmSpec["accel"];
  readonly vsock: VsockDevice;
  readonly share: ShareDevice;
  readonly nics?: readonly NicDevice[];
  /** By default the configuration's size. */
  readonly size?: VmSize;
  readonly growth?: Growth | undefined;
  readonly assignable?: AssignablePorts | undefined;
}

/** Returns the part of a VM's spec that depends only on the configuration, which is what a template has. */
export function machine(hypervisor: Config["hypervisor"], { path, accel }: Pick<VmSpec, "path" | "accel">) {
  return {
    path,
    machine: hypervisor.machine_type,
    accel,
    cpuModel: hypervisor.cpu_model === "auto" ? (accel === "kvm" ? "host" : "max") : hypervisor.cpu_model,
    cpuFeatures: hypervisor.cpu_features,
    vcpus: hypervisor.default_vcpus,
    memoryMib: hypervisor.default_memory,
    memory: {
      directory: hypervisor.memory_backend === "file" ? hypervisor.file_mem_backend : undefined,
      hugePages: hypervisor.enable_hugepages,
      preallocate: hypervisor.enable_mem_prealloc,
    },
    freePageReporting: hypervisor.reclaim_guest_freed_memory,
    entropySource: hypervisor.entropy_source,
    block: {
      aio: hypervisor.block_device_aio,
      direct: hypervisor.block_device_cache_direct,
      noFlush: hypervisor.block_device_cache_noflush,
      ioThread: hypervisor.enable_iothreads,
    },
    seccomp: hypervisor.seccomp_sandbox,
    kernel: hypervisor.kernel,
    initrd: hypervisor.initrd,
    kernelParams: hypervisor.kernel_params,
    extraArgs: hypervisor.extra_args ?? [],
  } satisfies Partial<VmSpec>;
}

/** Returns the spec of a pod's VM, from the configuration and the pod's surroundings. */
export function vmSpec(hypervisor: Config["hypervisor"], around: VmSurroundings): VmSpec {
  return {
    ...machine(hypervisor, around),
    name: around.name,
    directory: around.directory,
    user: around.user,
    netns: around.netns,
    vsock: around.vsock,
    shares: [around.share],
    nics: around.nics ?? [],
    disks: [],
    growth: around.growth,
    assignable: around.assignable,
    ...around.size,
  };
}

/** Returns the sizing rule; maximums that the configuration does not set are the host's. */
export function sizingRule({ hypervisor, runtime }: Config): SizingRule {
  return {
    defaultVcpus: hypervisor.default_vcpus,
    maxVcpus: hypervisor.default_maxvcpus || availableParallelism(),
    defaultMemory: hypervisor.default_memory,
    minMemory: hypervisor.minimum_memory,
    maxMemory: hypervisor.default_maxmemory || Math.floor(totalmem() / 2 ** 20),
    guestOverhead: hypervisor.guest_overhead_memory,
    hostOverhead: runtime.sandbox_overhead_memory,
  };
}

/**
 * Returns the root ports for assigned devices, which have room for any device of the host that could be assigned now;
 * undefined if the configuration wants none.
 */
export async function assignablePorts(
  { pcie_root_port: count }: Config["hypervisor"],
  sysfs?: string,
): Promise<AssignablePorts | undefined> {
  return count === 0 ? undefined : { count, windows: await largestAssignable(sysfs) };
}

/** Returns how far a pod's VM may grow with its containers; undefined if its size is fixed. */
export function vmGrowth(config: Config): Growth | undefined {
  if (config.runtime.static_sandbox_resource_mgmt) return undefined;
  const { maxVcpus, maxMemory } = sizingRule(config);
  return { maxVcpus, maxMemoryMib: maxMemory, memorySlots: config.hypervisor.memory_slots };
}
