import type { Config } from "./schema.ts";

/** A combination of values that cannot work, told at the key that should change. */
export interface Conflict {
  readonly key: string;
  readonly rule: string;
  readonly advice: string;
}

type HypervisorConfig = Config["hypervisor"];

/** What only QEMU can do, and when it is asked for. */
const QEMU_ONLY: readonly [keyof HypervisorConfig, (config: HypervisorConfig) => boolean][] = [
  ["cpu_features", ({ cpu_features }) => cpu_features.length > 0],
  ["memory_backend", ({ memory_backend }) => memory_backend === "file"],
  ["enable_iothreads", ({ enable_iothreads }) => enable_iothreads],
  ["block_device_aio", ({ block_device_aio }) => block_device_aio !== "threads"],
  ["block_device_cache_noflush", ({ block_device_cache_noflush }) => block_device_cache_noflush],
];

/** Everything in a complete configuration whose parts fit their keys but not each other. */
export function conflicts({ hypervisor, runtime }: Config): Conflict[] {
  const found: Conflict[] = [];
  const when = (wrong: boolean, key: string, rule: string, advice: string) => {
    if (wrong) found.push({ key, rule, advice });
  };
  when(
    hypervisor.type === "cloud-hypervisor" && hypervisor.machine_type === "microvm",
    "hypervisor.machine_type",
    "cloud-hypervisor has no machine type microvm",
    "delete the line",
  );
  when(
    hypervisor.type === "cloud-hypervisor" && hypervisor.accel === "tcg",
    "hypervisor.accel",
    "cloud-hypervisor runs guests with KVM only, not with tcg",
    "choose auto or kvm, or hypervisor.type: qemu",
  );
  when(
    hypervisor.type === "cloud-hypervisor" && hypervisor.vsock === "native",
    "hypervisor.vsock",
    "cloud-hypervisor has its own vsock device and does not support the kernel's",
    "choose auto or hybrid, or hypervisor.type: qemu",
  );
  when(
    hypervisor.type === "cloud-hypervisor" && runtime.internetworking_model === "macvtap",
    "runtime.internetworking_model",
    "macvtap requires qemu: cloud-hypervisor opens taps by name",
    "choose tcfilter, or hypervisor.type: qemu",
  );
  when(
    hypervisor.machine_type === "microvm" && hypervisor.template.enable,
    "hypervisor.machine_type",
    "a microvm does not support hotplug, through which a clone of a template gets all of its devices",
    "set hypervisor.template.enable: false, or choose q35",
  );
  const grows = !runtime.static_sandbox_resource_mgmt;
  when(
    grows && hypervisor.type === "cloud-hypervisor",
    "runtime.static_sandbox_resource_mgmt",
    "virtual machines that grow are so far supported only with qemu",
    "delete the line, or choose hypervisor.type: qemu",
  );
  when(
    grows && hypervisor.machine_type === "microvm",
    "runtime.static_sandbox_resource_mgmt",
    "a microvm does not support CPU or memory hotplug",
    "delete the line, or choose hypervisor.machine_type: q35",
  );
  when(
    grows && hypervisor.memory_backend === "file",
    "hypervisor.memory_backend",
    "memory hot-plugged into a growing virtual machine is anonymous, not backed by a file",
    "choose memfd, or delete runtime.static_sandbox_resource_mgmt: false",
  );
  when(
    hypervisor.accel === "tcg" && hypervisor.cpu_model === "host",
    "hypervisor.cpu_model",
    "the CPU model host exists with KVM only, and hypervisor.accel is tcg",
    "choose auto or max",
  );
  when(
    hypervisor.default_maxvcpus !== 0 && hypervisor.default_maxvcpus < hypervisor.default_vcpus,
    "hypervisor.default_maxvcpus",
    `${hypervisor.default_maxvcpus} is less than hypervisor.default_vcpus (${hypervisor.default_vcpus})`,
    "raise it, or write 0 for as many as the host has",
  );
  when(
    hypervisor.default_maxmemory !== 0 && hypervisor.default_maxmemory < hypervisor.default_memory,
    "hypervisor.default_maxmemory",
    `${hypervisor.default_maxmemory} MiB is less than hypervisor.default_memory (${hypervisor.default_memory} MiB)`,
    "raise it, or write 0 for as much as the host has",
  );
  when(
    hypervisor.default_maxmemory !== 0 && hypervisor.default_maxmemory < hypervisor.minimum_memory,
    "hypervisor.minimum_memory",
    `${hypervisor.minimum_memory} MiB is more than hypervisor.default_maxmemory (${hypervisor.default_maxmemory} MiB)`,
    "lower it, or raise the other",
  );
  for (const [key, wrong] of QEMU_ONLY) {
    when(
      hypervisor.type === "cloud-hypervisor" && wrong(hypervisor),
      `hypervisor.${key}`,
      "cloud-hypervisor has no equivalent",
      "delete the line, or choose hypervisor.type: qemu",
    );
  }
  when(
    hypervisor.memory_backend === "file" && hypervisor.enable_hugepages,
    "hypervisor.enable_hugepages",
    "requires memory_backend: memfd; a file has the page size of its directory's file system",
    "delete the line, and set hypervisor.file_mem_backend to a directory on hugetlbfs",
  );
  when(
    hypervisor.memory_backend === "file" && hypervisor.file_mem_backend === undefined,
    "hypervisor.memory_backend",
    "file needs a directory",
    "set hypervisor.file_mem_backend, or choose memfd",
  );
  when(
    hypervisor.block_device_aio === "native" && !hypervisor.block_device_cache_direct,
    "hypervisor.block_device_aio",
    "native requires direct I/O",
    "set hypervisor.block_device_cache_direct: true, or choose threads or io_uring",
  );
  return found;
}
