/**
 * The part of Cloud Hypervisor's HTTP API that hull uses, from its OpenAPI document
 * (vmm/src/api/openapi/cloud-hypervisor.yaml, API version 0.3.0). Sizes are in bytes.
 */

/** The body of vm.create. */
export interface VmConfig {
  payload: { kernel: string; initramfs?: string; cmdline?: string };
  cpus: { boot_vcpus: number; max_vcpus: number };
  memory: MemoryConfig;
  rng: { src: string };
  balloon?: { size: number; deflate_on_oom?: boolean; free_page_reporting?: boolean };
  /** The emulated 16550A. `Tty` writes to the VMM's standard output. Default: `Null`. */
  serial: ConsoleConfig;
  /** The virtio-console. Default: `Tty`. */
  console: ConsoleConfig;
  fs?: FsConfig[];
  net?: NetConfig[];
  disks?: DiskConfig[];
  vsock?: VsockConfig;
  /** A pvpanic device: a kernel panic becomes the event `guest panic`. */
  pvpanic?: boolean;
}

interface MemoryConfig {
  size: number;
  /** MAP_SHARED, which vhost-user devices need. Always on with huge pages. */
  shared: boolean;
  hugepages?: boolean;
  /** Allocate all memory at the start. */
  prefault?: boolean;
}

interface ConsoleConfig {
  mode: "Off" | "Tty";
}

/** A virtio-fs device. */
export interface FsConfig {
  id?: string;
  tag: string;
  socket: string;
  num_queues: number;
  queue_size: number;
}

/** A virtio-net device. */
export interface NetConfig {
  id?: string;
  tap: string;
  mac: string;
}

/** A virtio-blk device. */
export interface DiskConfig {
  id?: string;
  path: string;
  readonly?: boolean;
  direct?: boolean;
  serial?: string;
  image_type?: "FixedVhd" | "Qcow2" | "Raw" | "Vhdx" | "Unknown";
}

/** A VFIO device, by its path in the host's sysfs. */
export interface DeviceConfig {
  id?: string;
  path: string;
}

/** The vsock device. */
export interface VsockConfig {
  id?: string;
  /** At least 3. */
  cid: number;
  /** The hybrid unix socket, which the VMM binds. Connections from the guest go to `<socket>_<port>`. */
  socket: string;
}

/** The body of vm.restore. */
export interface RestoreConfig {
  /** `file://` and the directory that contains config.json, state.json and memory-ranges. */
  source_url: string;
}

/** The answer to vmm.ping. */
export interface VmmPingResponse {
  version: string;
  pid?: number;
}

type VmState = "Created" | "Running" | "Shutdown" | "Paused" | "BreakPoint";

/** The answer to vm.info. */
export interface VmInfo {
  config: Record<string, unknown>;
  state: VmState;
  /** By device id. Contains a device that is being removed until the guest has released it. */
  device_tree?: Record<string, unknown>;
}

/** The answer to a hot-plug. */
export interface PciDeviceInfo {
  id: string;
  /** Bus, device, function in the guest: `0000:00:05.0`. */
  bdf: string;
}
