/**
 * The part of Cloud Hypervisor's HTTP API that hull uses, typed from its published OpenAPI document
 * (vmm/src/api/openapi/cloud-hypervisor.yaml, API version 0.3.0). Field names are the wire's. Sizes are bytes.
 */

export interface VmConfig {
  payload: { kernel: string; initramfs?: string; cmdline?: string };
  cpus: { boot_vcpus: number; max_vcpus: number };
  memory: MemoryConfig;
  rng: { src: string };
  balloon?: { size: number; deflate_on_oom?: boolean; free_page_reporting?: boolean };
  /** The emulated 16550A; `Tty` writes to the VMM's standard output. Its default is `Null`. */
  serial: ConsoleConfig;
  /** virtio-console. Its default is `Tty`: say `Off` to be rid of it. */
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
  /** MAP_SHARED: every vhost-user device needs it. Ignored (always on) with huge pages. */
  shared: boolean;
  hugepages?: boolean;
  /** Allocate all of it at the start. */
  prefault?: boolean;
}

interface ConsoleConfig {
  mode: "Off" | "Tty";
}

export interface FsConfig {
  id?: string;
  tag: string;
  socket: string;
  num_queues: number;
  queue_size: number;
}

export interface NetConfig {
  id?: string;
  tap: string;
  mac: string;
}

export interface DiskConfig {
  id?: string;
  path: string;
  readonly?: boolean;
  direct?: boolean;
  serial?: string;
  image_type?: "FixedVhd" | "Qcow2" | "Raw" | "Vhdx" | "Unknown";
}

export interface VsockConfig {
  id?: string;
  /** 3 or more. */
  cid: number;
  /** The hybrid unix socket that the VMM itself binds; connections from the guest go to `<socket>_<port>`. */
  socket: string;
}

export interface RestoreConfig {
  /** `file://<directory>` that holds config.json, state.json and memory-ranges. */
  source_url: string;
}

export interface VmmPingResponse {
  version: string;
  pid?: number;
}

type VmState = "Created" | "Running" | "Shutdown" | "Paused" | "BreakPoint";

export interface VmInfo {
  config: Record<string, unknown>;
  state: VmState;
  /** By device id. A device that is being removed stays in it until the guest has let it go. */
  device_tree?: Record<string, unknown>;
}

export interface PciDeviceInfo {
  id: string;
  /** Bus, device, function in the guest: `0000:00:05.0`. */
  bdf: string;
}
