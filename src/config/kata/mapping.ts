/** How one of Kata's keys becomes one of hull's. */
interface Rule {
  /** hull's key. */
  readonly to: string;
  /** Converts the value; undefined if hull's default applies. */
  readonly value?: (theirs: unknown) => unknown;
}

/** Why a key has no counterpart. */
interface Dropped {
  readonly why: string;
}

const same = (to: string): Rule => ({ to });
const words = (theirs: unknown): string[] =>
  String(theirs)
    .split(/\s+/)
    .filter((word) => word !== "");
const seconds = (theirs: unknown): unknown =>
  typeof theirs === "number" && theirs > 0 ? `${theirs}s` : undefined;
/** 0 or a negative number mostly means "as much as the host has" to Kata. */
const positive = (theirs: unknown): unknown =>
  typeof theirs === "number" && theirs <= 0 ? undefined : theirs;
const text = (theirs: unknown): unknown => (theirs === "" ? undefined : theirs);
const debug: Rule = { to: "runtime.log_level", value: (theirs) => (theirs === true ? "debug" : undefined) };

const OWN_GUEST: Dropped = {
  why: "hull boots its own guest: a kernel and an initrd that contains hull-agent",
};

/** Keys of `[hypervisor.<name>]`. */
const HYPERVISOR: Readonly<Record<string, Rule | Dropped>> = {
  path: { to: "hypervisor.path", value: text },
  kernel: OWN_GUEST,
  image: OWN_GUEST,
  initrd: OWN_GUEST,
  rootfs_type: OWN_GUEST,
  machine_type: same("hypervisor.machine_type"),
  kernel_params: {
    to: "hypervisor.kernel_params",
    // Parameters for Kata's agent and for systemd mean nothing to hull's guest.
    value: (theirs) => words(theirs).filter((word) => !/^(agent|systemd)\./.test(word)),
  },
  cpu_features: {
    to: "hypervisor.cpu_features",
    value: (theirs) =>
      String(theirs)
        .split(",")
        .filter((feature) => feature !== "")
        .map((feature) => {
          const [name, state] = feature.split("=");
          if (state !== undefined) return `${state === "off" ? "-" : "+"}${name}`;
          return /^[+-]/.test(feature) ? feature : `+${feature}`;
        }),
  },
  default_vcpus: { to: "hypervisor.default_vcpus", value: positive },
  default_maxvcpus: { to: "hypervisor.default_maxvcpus", value: positive },
  default_memory: { to: "hypervisor.default_memory", value: positive },
  default_maxmemory: { to: "hypervisor.default_maxmemory", value: positive },
  memory_slots: { to: "hypervisor.memory_slots", value: positive },
  file_mem_backend: { to: "hypervisor.file_mem_backend", value: text },
  enable_hugepages: same("hypervisor.enable_hugepages"),
  enable_mem_prealloc: same("hypervisor.enable_mem_prealloc"),
  reclaim_guest_freed_memory: same("hypervisor.reclaim_guest_freed_memory"),
  enable_iothreads: same("hypervisor.enable_iothreads"),
  block_device_aio: same("hypervisor.block_device_aio"),
  block_device_cache_direct: same("hypervisor.block_device_cache_direct"),
  block_device_cache_noflush: same("hypervisor.block_device_cache_noflush"),
  disable_vhost_net: same("hypervisor.disable_vhost_net"),
  entropy_source: same("hypervisor.entropy_source"),
  seccompsandbox: { to: "hypervisor.seccomp_sandbox", value: (theirs) => theirs !== "" },
  rootless: same("hypervisor.rootless"),
  virtio_fs_daemon: { to: "hypervisor.virtio_fs_daemon", value: text },
  virtio_fs_cache: {
    to: "hypervisor.virtio_fs_cache",
    value: (theirs) => (theirs === "none" ? "never" : theirs),
  },
  virtio_fs_extra_args: same("hypervisor.virtio_fs_extra_args"),
  enable_debug: debug,
  shared_fs: { why: "hull shares files over virtio-fs" },
  block_device_driver: { why: "hull's block devices are virtio-blk" },
  pcie_root_port: same("hypervisor.pcie_root_port"),
  hot_plug_vfio: {
    why: "hull hot-plugs assigned devices, into PCIe root ports if pcie_root_port reserves some",
  },
  cold_plug_vfio: { why: "hull hot-plugs assigned devices, before the container's first instruction" },
  default_bridges: { why: "hull has one bridge with 31 slots" },
  disable_nesting_checks: { why: "accel: auto detects whether KVM can run a guest" },
  valid_hypervisor_paths: { to: "runtime.annotation_paths" },
  valid_virtio_fs_daemon_paths: { to: "runtime.annotation_paths" },
};

/** Keys of the other tables, by their full name in Kata's file. */
const OTHERS: Readonly<Record<string, Rule | Dropped>> = {
  "factory.enable_template": same("hypervisor.template.enable"),
  "factory.template_path": same("hypervisor.template.template_path"),
  "factory.vm_cache_number": { why: "hull has no VM cache; templates replace it" },
  "agent.kata.enable_debug": debug,
  "agent.kata.dial_timeout": { to: "agent.boot_timeout", value: seconds },
  "agent.kata.debug_console_enabled": same("agent.debug_console_enabled"),
  "agent.kata.kernel_modules": OWN_GUEST,
  "runtime.enable_debug": debug,
  "runtime.internetworking_model": same("runtime.internetworking_model"),
  "runtime.disable_guest_seccomp": same("runtime.disable_guest_seccomp"),
  "runtime.sandbox_cgroup_only": same("runtime.sandbox_cgroup_only"),
  "runtime.static_sandbox_resource_mgmt": same("runtime.static_sandbox_resource_mgmt"),
  "runtime.vfio_mode": same("runtime.vfio_mode"),
  "runtime.create_container_timeout": { to: "runtime.create_container_timeout", value: seconds },
};

/** Returns the rule for a key of Kata's file (`hypervisor.qemu.path`); undefined for an unknown key. */
export function ruleOf(name: string): Rule | Dropped | undefined {
  const match = /^hypervisor\.[^.]+\.(.+)$/.exec(name);
  const [table, key] = match ? [HYPERVISOR, match[1] ?? ""] : [OTHERS, name];
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
