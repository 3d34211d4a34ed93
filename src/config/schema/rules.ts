import type { Config } from "./schema.ts";

/** A combination of values that cannot work, reported at the key that should change. */
interface Conflict {
  readonly key: string;
  readonly rule: string;
  readonly advice: string;
}

interface Rule extends Pick<Conflict, "key" | "advice"> {
  wrong(config: Config): boolean;
  readonly rule: string | ((config: Config) => string);
}

/** Whether CPUs and memory are hot-plugged. */
const grows = (runtime: Config["runtime"]) => !runtime.static_sandbox_resource_mgmt;

/** The rule for a key that only QEMU supports; `asked` is whether its value asks for something. */
const qemuOnly = (
  key: keyof Config["hypervisor"],
  asked: (hypervisor: Config["hypervisor"]) => boolean,
): Rule => ({
  key: `hypervisor.${key}`,
  wrong: ({ hypervisor }) => hypervisor.type === "cloud-hypervisor" && asked(hypervisor),
  rule: "cloud-hypervisor has no equivalent",
  advice: "delete the line, or choose hypervisor.type: qemu",
});

const QEMU_ONLY: readonly Rule[] = [
  qemuOnly("cpu_features", ({ cpu_features }) => cpu_features.length > 0),
  qemuOnly("memory_backend", ({ memory_backend }) => memory_backend === "file"),
  qemuOnly("pcie_root_port", ({ pcie_root_port }) => pcie_root_port > 0),
  qemuOnly("enable_iothreads", ({ enable_iothreads }) => enable_iothreads),
  qemuOnly("block_device_aio", ({ block_device_aio }) => block_device_aio !== "threads"),
  qemuOnly("block_device_cache_noflush", ({ block_device_cache_noflush }) => block_device_cache_noflush),
];

/** Values that fit their keys but not each other. */
const RULES: readonly Rule[] = [
  {
    key: "hypervisor.machine_type",
    wrong: ({ hypervisor }) =>
      hypervisor.type === "cloud-hypervisor" && hypervisor.machine_type === "microvm",
    rule: "cloud-hypervisor has no machine type microvm",
    advice: "delete the line",
  },
  {
    key: "hypervisor.accel",
    wrong: ({ hypervisor }) => hypervisor.type === "cloud-hypervisor" && hypervisor.accel === "tcg",
    rule: "cloud-hypervisor runs guests with KVM only, not with tcg",
    advice: "choose auto or kvm, or hypervisor.type: qemu",
  },
  {
    key: "hypervisor.vsock",
    wrong: ({ hypervisor }) => hypervisor.type === "cloud-hypervisor" && hypervisor.vsock === "native",
    rule: "cloud-hypervisor has its own vsock device and does not support the kernel's",
    advice: "choose auto or hybrid, or hypervisor.type: qemu",
  },
  {
    key: "runtime.internetworking_model",
    wrong: ({ hypervisor, runtime }) =>
      hypervisor.type === "cloud-hypervisor" && runtime.internetworking_model === "macvtap",
    rule: "macvtap requires qemu: cloud-hypervisor opens taps by name",
    advice: "choose tcfilter, or hypervisor.type: qemu",
  },
  {
    key: "hypervisor.machine_type",
    wrong: ({ hypervisor }) => hypervisor.machine_type === "microvm" && hypervisor.template.enable,
    rule: "a microvm does not support hotplug, through which a clone of a template gets all of its devices",
    advice: "set hypervisor.template.enable: false, or choose q35",
  },
  {
    key: "hypervisor.pcie_root_port",
    wrong: ({ hypervisor }) => hypervisor.machine_type === "microvm" && hypervisor.pcie_root_port > 0,
    rule: "a microvm does not support hotplug, by which devices are assigned",
    advice: "delete the line, or choose hypervisor.machine_type: q35",
  },
  {
    key: "runtime.static_sandbox_resource_mgmt",
    wrong: ({ hypervisor, runtime }) => grows(runtime) && hypervisor.type === "cloud-hypervisor",
    rule: "virtual machines that grow are so far supported only with qemu",
    advice: "delete the line, or choose hypervisor.type: qemu",
  },
  {
    key: "runtime.static_sandbox_resource_mgmt",
    wrong: ({ hypervisor, runtime }) => grows(runtime) && hypervisor.machine_type === "microvm",
    rule: "a microvm does not support CPU or memory hotplug",
    advice: "delete the line, or choose hypervisor.machine_type: q35",
  },
  {
    key: "hypervisor.memory_backend",
    wrong: ({ hypervisor, runtime }) => grows(runtime) && hypervisor.memory_backend === "file",
    rule: "memory hot-plugged into a growing virtual machine is anonymous, not backed by a file",
    advice: "choose memfd, or delete runtime.static_sandbox_resource_mgmt: false",
  },
  {
    key: "hypervisor.cpu_model",
    wrong: ({ hypervisor }) => hypervisor.accel === "tcg" && hypervisor.cpu_model === "host",
    rule: "the CPU model host exists with KVM only, and hypervisor.accel is tcg",
    advice: "choose auto or max",
  },
  {
    key: "hypervisor.default_maxvcpus",
    wrong: ({ hypervisor }) =>
      hypervisor.default_maxvcpus !== 0 && hypervisor.default_maxvcpus < hypervisor.default_vcpus,
    rule: ({ hypervisor }) =>
      `${hypervisor.default_maxvcpus} is less than hypervisor.default_vcpus (${hypervisor.default_vcpus})`,
    advice: "raise it, or write 0 for as many as the host has",
  },
  {
    key: "hypervisor.default_maxmemory",
    wrong: ({ hypervisor }) =>
      hypervisor.default_maxmemory !== 0 && hypervisor.default_maxmemory < hypervisor.default_memory,
    rule: ({ hypervisor }) =>
      `${hypervisor.default_maxmemory} MiB is less than hypervisor.default_memory (${hypervisor.default_memory} MiB)`,
    advice: "raise it, or write 0 for as much as the host has",
  },
  {
    key: "hypervisor.minimum_memory",
    wrong: ({ hypervisor }) =>
      hypervisor.default_maxmemory !== 0 && hypervisor.default_maxmemory < hypervisor.minimum_memory,
    rule: ({ hypervisor }) =>
      `${hypervisor.minimum_memory} MiB is more than hypervisor.default_maxmemory (${hypervisor.default_maxmemory} MiB)`,
    advice: "lower it, or raise hypervisor.default_maxmemory",
  },
  ...QEMU_ONLY,
  {
    key: "hypervisor.enable_hugepages",
    wrong: ({ hypervisor }) => hypervisor.memory_backend === "file" && hypervisor.enable_hugepages,
    rule: "requires memory_backend: memfd; a file has the page size of its directory's file system",
    advice: "delete the line, and set hypervisor.file_mem_backend to a directory on hugetlbfs",
  },
  {
    key: "hypervisor.memory_backend",
    wrong: ({ hypervisor }) =>
      hypervisor.memory_backend === "file" && hypervisor.file_mem_backend === undefined,
    rule: "file needs a directory",
    advice: "set hypervisor.file_mem_backend, or choose memfd",
  },
  {
    key: "hypervisor.block_device_aio",
    wrong: ({ hypervisor }) =>
      hypervisor.block_device_aio === "native" && !hypervisor.block_device_cache_direct,
    rule: "native requires direct I/O",
    advice: "set hypervisor.block_device_cache_direct: true, or choose threads or io_uring",
  },
];

/** Lists the conflicts in a complete configuration: values that fit their keys but not each other. */
export function conflicts(config: Config): Conflict[] {
  return RULES.filter(({ wrong }) => wrong(config)).map(({ key, rule, advice }) => ({
    key,
    rule: typeof rule === "string" ? rule : rule(config),
    advice,
  }));
}
