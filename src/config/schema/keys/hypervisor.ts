import { boolean, choice, integer, list, optionalPath, path, program, section, string } from "../key.ts";

const since = "0.1.0";
const KERNEL_PARAMETER = /^[\x21-\x7e]+$/;
const ARGUMENT = /^[^\0]+$/;

/** Everything about the virtual machine and the processes that serve it. */
export const hypervisor = section("The VMM and the virtual machine.", {
  type: choice({
    about: "The virtual machine monitor (VMM) that runs the pods.",
    choices: ["qemu", "cloud-hypervisor"],
    default: "qemu",
    since,
  }),
  path: program({
    about: "The VMM's executable.",
    default: "qemu-system-x86_64",
    defaultFor: { "cloud-hypervisor": "cloud-hypervisor" },
    since,
    annotation: true,
  }),
  kernel: path({
    about: "The guest kernel, an uncompressed ELF vmlinux with a PVH entry.",
    default: "guest/vmlinux",
    relative: "installation",
    since,
    annotation: true,
  }),
  initrd: path({
    about:
      "The guest's initial ramdisk: hull-agent and everything else that the guest runs apart from containers.",
    default: "guest/initrd.img",
    relative: "installation",
    since,
    annotation: true,
  }),
  kernel_params: list({
    about: "Parameters appended to the guest kernel's command line.",
    item: "kernel parameter",
    pattern: KERNEL_PARAMETER,
    rule: "must be printable and contain no spaces",
    default: [],
    since,
    annotation: true,
    example: "[systemd.show_status=0, loglevel=7]",
  }),
  machine_type: choice({
    about:
      "The machine type. q35 supports hotplug. microvm (QEMU only) boots faster but does not: no templates, no block volumes, no interfaces added to a running pod.",
    choices: ["q35", "microvm"],
    default: "q35",
    since,
    annotation: true,
  }),
  accel: choice({
    about:
      "How the guest's code is run. auto uses KVM if it can actually run the guest's kernel, and emulation (TCG) with a warning otherwise. The first pod after the host's boot tries it out, which takes about a second; if KVM does not work, later pods try again in the background from time to time.",
    choices: ["auto", "kvm", "tcg"],
    default: "auto",
    since,
  }),
  cpu_model: string({
    about:
      "The CPU model, as the VMM names it. auto means the host's model under KVM, and all features that can be emulated under TCG.",
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    rule: "must be the name of a CPU model: letters, digits, dot, dash and underscore",
    default: "auto",
    since,
    annotation: true,
  }),
  cpu_features: list({
    about: "CPU features to enable (+name) or disable (-name).",
    item: "CPU feature",
    pattern: /^[+-][a-z0-9][a-z0-9._-]*$/,
    rule: "must be + or - followed by the name of a CPU feature",
    default: [],
    since,
    annotation: true,
    example: "[-pmu]",
  }),
  default_vcpus: integer({
    about:
      "Virtual CPUs of a pod without a CPU limit, or its requested CPUs if these are more. A pod with a limit gets its limit, rounded up.",
    unit: "vCPUs",
    min: 1,
    max: 240,
    default: 1,
    since,
    annotation: true,
  }),
  default_maxvcpus: integer({
    about: "The maximum number of virtual CPUs of a pod. 0 means as many as the host has.",
    unit: "vCPUs",
    min: 0,
    max: 240,
    default: 0,
    since,
    annotation: true,
  }),
  default_memory: integer({
    about:
      "Memory of the virtual machine of a pod without a memory limit. A pod with a limit gets its limit plus guest_overhead_memory, rounded up to a multiple of 64.",
    unit: "MiB",
    min: 64,
    max: 1_048_576,
    default: 256,
    since,
    annotation: true,
  }),
  default_maxmemory: integer({
    about:
      "The maximum memory of the virtual machine of a pod with a limit. 0 means as much as the host has.",
    unit: "MiB",
    min: 0,
    max: 16_777_216,
    default: 0,
    since,
    annotation: true,
  }),
  minimum_memory: integer({
    about:
      "The minimum memory of the virtual machine of a pod with a limit, however low the limit: what a guest needs to boot and to run a small container.",
    unit: "MiB",
    min: 64,
    max: 1_048_576,
    default: 128,
    since,
    annotation: true,
  }),
  guest_overhead_memory: integer({
    about: "Memory that the guest's kernel and agent use; added to a pod's memory limit.",
    unit: "MiB",
    min: 0,
    max: 65_536,
    default: 96,
    since,
    annotation: true,
  }),
  memory_slots: integer({
    about:
      "How many times memory can be hot-plugged into a virtual machine that grows (runtime.static_sandbox_resource_mgmt: false). virtiofsd and vhost-device-vsock support eight memory regions, of which a virtual machine starts with one or two.",
    unit: "slots",
    min: 1,
    max: 255,
    default: 6,
    since,
    annotation: true,
  }),
  pcie_root_port: integer({
    about:
      "PCIe root ports for assigned devices (docs/how-to/assign-devices.md), each with address space for the largest device that is bound to a VFIO driver when the pod starts. Without them, assigned devices take slots of the bridge for disks, as conventional PCI devices with up to 2 MiB of BARs: enough for most network adapters and NVMe disks, not for GPUs.",
    unit: "ports",
    min: 0,
    max: 8,
    default: 0,
    since,
    annotation: true,
  }),
  memory_backend: choice({
    about: "What backs guest memory: an anonymous shared file (memfd), or a file in file_mem_backend.",
    choices: ["memfd", "file"],
    default: "memfd",
    since,
  }),
  file_mem_backend: optionalPath({
    about: "The directory, on an in-memory file system (tmpfs or hugetlbfs), for memory_backend: file.",
    since,
    annotation: true,
  }),
  enable_hugepages: boolean({
    about: "Back guest memory with the host's preallocated huge pages.",
    default: false,
    since,
    annotation: true,
  }),
  enable_mem_prealloc: boolean({
    about: "Allocate all of the guest's memory at the start instead of on first use.",
    default: false,
    since,
    annotation: true,
  }),
  reclaim_guest_freed_memory: boolean({
    about: "Return memory that the guest has freed to the host (virtio-balloon free page reporting).",
    default: true,
    since,
    annotation: true,
  }),
  enable_iothreads: boolean({
    about: "Serve block devices in a separate thread.",
    default: false,
    since,
    annotation: true,
  }),
  block_device_aio: choice({
    about: "How the VMM reads and writes block devices.",
    choices: ["threads", "native", "io_uring"],
    default: "threads",
    since,
    annotation: true,
  }),
  block_device_cache_direct: boolean({
    about: "Bypass the host's page cache for block devices (O_DIRECT).",
    default: false,
    since,
    annotation: true,
  }),
  block_device_cache_noflush: boolean({
    about: "Ignore flush requests of the guest: fast, but loses data if the host crashes.",
    default: false,
    since,
    annotation: true,
  }),
  disable_vhost_net: boolean({
    about: "Pass network packets through the VMM even if the host has vhost-net.",
    default: false,
    since,
    annotation: true,
  }),
  entropy_source: path({
    about: "The host device that feeds the guest's random number generator.",
    default: "/dev/urandom",
    since,
    annotation: true,
  }),
  seccomp_sandbox: boolean({
    about: "Confine the VMM's own system calls with its seccomp filter.",
    default: true,
    since,
  }),
  rootless: boolean({
    about:
      "Run the VMM and vhost-device-vsock as a separate unprivileged user per pod, without any capabilities. virtiofsd confines itself.",
    default: true,
    since,
    annotation: true,
  }),
  rootless_first_id: integer({
    about:
      "The first of the 4194304 user and group ids that rootless uses. Nothing else on the host may use them, including a hull inside a container: everything that runs as a pod's user is killed when the pod ends. A pod's id is this one plus the PID of its shim, or the next free one.",
    min: 1_000,
    max: 4_290_772_990,
    default: 1_879_048_192,
    since,
  }),
  extra_args: list({
    about: "Arguments appended to the VMM's command line as they are, unchecked.",
    item: "argument",
    pattern: ARGUMENT,
    rule: "must be a non-empty string",
    default: [],
    since,
    example: '["-d", "guest_errors"]',
  }),
  vsock: choice({
    about:
      "How host and guest communicate: native is the host kernel's vhost-vsock, hybrid a Unix socket served in user space. auto uses native if the host has it.",
    choices: ["auto", "hybrid", "native"],
    default: "auto",
    since,
  }),
  vhost_device_vsock: program({
    about: "The program that serves hybrid vsock for QEMU.",
    default: "vhost-device-vsock",
    since,
  }),
  virtio_fs_daemon: program({
    about: "The virtio-fs daemon that shares container root file systems and volumes with the guest.",
    default: "virtiofsd",
    since,
    annotation: true,
  }),
  virtio_fs_cache: choice({
    about:
      "How long the guest may use its cache of shared files: not at all (never), for a second (auto), or indefinitely (always; nothing else may change the files then).",
    choices: ["never", "auto", "always"],
    default: "auto",
    since,
    annotation: true,
  }),
  virtio_fs_extra_args: list({
    about: "Arguments appended to the virtio-fs daemon's command line as they are.",
    item: "argument",
    pattern: ARGUMENT,
    rule: "must be a non-empty string",
    default: [],
    since,
  }),
  template: section("Pods cloned from a virtual machine that was booted once.", {
    enable: boolean({
      about: "Start pods from a template.",
      default: true,
      since,
    }),
    template_path: path({
      about: "The directory, on an in-memory file system (tmpfs), that contains the templates.",
      default: "/dev/shm/hull-template",
      since,
    }),
    max_size: integer({
      about: "The maximum memory that all templates together may take.",
      unit: "MiB",
      min: 0,
      max: 1_048_576,
      default: 2048,
      since,
    }),
    wait: boolean({
      about:
        "What a pod does while another one builds its template: wait for the template (true) or boot without it (false).",
      default: true,
      since,
    }),
  }),
});
