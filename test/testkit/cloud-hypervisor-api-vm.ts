import { closeSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Device, opened } from "./cloud-hypervisor-api-devices.ts";

/** A refusal with the real server's status and chain of causes, which becomes the body. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly chain: readonly string[],
  ) {
    super(chain.join(": "));
  }
}

/** An entry of the event monitor's stream. */
export interface FakeEvent {
  readonly source: string;
  readonly event: string;
  readonly properties?: Readonly<Record<string, string>>;
}

/** What the fake VM needs from its process. */
interface FakeVmHost {
  emit(event: FakeEvent): void;
  /** Prints to the guest's serial port. */
  print(text: string): void;
  /** Opens what every VM opens, including `rng`. Throws the causes of a Refusal. */
  boot(rng: string): void;
  /** Opens a device's host side. Throws the causes of a Refusal. */
  attach(kind: Attached, device: Device): Promise<void>;
  /** Closes the host side of all devices. */
  detachAll(): Promise<void>;
}

/** Kinds with a host side. */
export type Attached = "disks" | "net" | "fs" | "devices" | "vsock";
type Kind = Exclude<Attached, "vsock"> | "pmem";
// A body that has passed the schema.
type Config = Record<string, unknown> & {
  payload: { kernel?: string; firmware?: string; initramfs?: string };
};
type State = "Running" | "Paused";

const LABELS = {
  "vm.create": "The VM could not be created",
  "vm.boot": "The VM could not boot",
  "vm.delete": "The VM could not be deleted",
  "vm.info": "The VM info is not available",
  "vm.counters": "The VM info is not available",
  "vm.pause": "The VM could not be paused",
  "vm.resume": "The VM could not resume",
  "vm.shutdown": "The VM could not shutdown",
  "vm.reboot": "The VM could not reboot",
  "vm.resize": "The VM could not be resized",
  "vm.remove-device": "The device could not be removed from the VM",
  "vm.add-disk": "The disk could not be added to the VM",
  "vm.add-net": "The network device could not be added to the VM",
  "vm.add-fs": "The fs could not be added to the VM",
  "vm.add-device": "The device could not be added to the VM",
  "vm.add-pmem": "The pmem device could not be added to the VM",
  "vm.add-vsock": "The vsock device could not be added to the VM",
  "vm.snapshot": "The VM could not be snapshotted",
  "vm.restore": "The VM could not be restored",
  "vm.power-button": "Error triggering power button",
} as const;
type VmAction = keyof typeof LABELS;

/**
 * The fake VMM's VM: which calls are refused in which state, with the status and message of the real one
 * (vmm/src/lib.rs, vm.rs, api/http/mod.rs at release 53), and the effect of each call on vm.info.
 */
export class FakeVm {
  #config: Config | undefined;
  #state: State | undefined;
  /** Devices by id, as in device_tree. A removed one stays until the guest has ejected it. */
  readonly #tree = new Map<string, { pci_bdf: string }>();
  #slot = 1;
  #serial = 0;
  /** Whether the guest ejects a device that is being removed. */
  ejects = true;

  constructor(readonly host: FakeVmHost) {}

  get created(): boolean {
    return this.#config !== undefined;
  }
  get state(): State | undefined {
    return this.#state;
  }

  create(config: Config): void {
    if (this.#config) throw refuse("vm.create", 500, "VM is already created");
    this.#config = structuredClone(config);
  }

  async boot(): Promise<void> {
    if (this.#state) throw refuse("vm.boot", 500, "VM is already created");
    this.host.emit({ source: "vm", event: "booting" });
    const config = this.#config;
    if (!config) throw refuse("vm.boot", 404, "VM config is missing");
    validate("vm.boot", config);
    for (const [what, path] of [
      ["Cannot open kernel file", config.payload.kernel],
      ["Cannot open initramfs file", config.payload.initramfs],
    ] as const) {
      if (path === undefined) continue;
      try {
        closeSync(opened(path, "r", what));
      } catch (error) {
        throw refuse("vm.boot", 500, (error as Error).message);
      }
    }
    try {
      this.host.boot(String((config.rng as { src?: string } | undefined)?.src ?? "/dev/urandom"));
    } catch (error) {
      throw refuse("vm.boot", 500, (error as Error).message);
    }
    await this.#attachAll("vm.boot", config);
    this.#state = "Running";
    this.host.print("Linux version 6.1.0 (fake guest)\r\n");
    this.host.emit({ source: "vm", event: "booted" });
  }

  pause(): void {
    const state = this.#running("vm.pause");
    this.host.emit({ source: "vm", event: "pausing" });
    if (state === "Paused") {
      throw refuse(
        "vm.pause",
        500,
        "Cannot pause VM",
        "Failed to pause migratable component",
        invalid("Paused", "Paused"),
      );
    }
    this.#state = "Paused";
    this.host.emit({ source: "vm", event: "paused" });
  }

  resume(): void {
    const state = this.#running("vm.resume");
    this.host.emit({ source: "vm", event: "resuming" });
    if (state === "Running") {
      throw refuse(
        "vm.resume",
        500,
        "Cannot resume VM",
        "Failed to resume migratable component",
        invalid("Running", "Running"),
      );
    }
    this.#state = "Running";
    this.host.emit({ source: "vm", event: "resumed" });
  }

  async shutdown(): Promise<void> {
    this.#running("vm.shutdown");
    await this.#stop();
    this.host.emit({ source: "vm", event: "shutdown" });
  }

  reboot(): void {
    this.host.emit({ source: "vm", event: "rebooting" });
    if (!this.#state) throw refuse("vm.reboot", 404, "VM is not created");
    this.#state = "Running";
    this.host.print("Linux version 6.1.0 (fake guest)\r\n");
    this.host.emit({ source: "vm", event: "rebooted" });
  }

  async delete(): Promise<void> {
    if (!this.#config) return;
    if (this.#state) await this.shutdown();
    this.#config = undefined;
    this.host.emit({ source: "vm", event: "deleted" });
  }

  info(): object {
    if (!this.#config) throw refuse("vm.info", 404, "VM is not created");
    const size = (this.#config.memory as { size: number } | undefined)?.size ?? 512 << 20;
    return {
      config: this.#config,
      state: this.#state ?? "Created",
      memory_actual_size: size - ((this.#config.balloon as { size: number } | undefined)?.size ?? 0),
      ...(this.#state && { device_tree: Object.fromEntries(this.#tree) }),
    };
  }

  counters(): object {
    this.#running("vm.counters");
    const ids = [...this.#tree.keys()].filter((id) => /disk|net|nic/.test(id));
    return Object.fromEntries(ids.map((id) => [id, { read_bytes: 0, write_bytes: 0 }]));
  }

  powerButton(): void {
    this.#running("vm.power-button");
  }

  resize(size: { desired_vcpus?: number; desired_ram?: number; desired_balloon?: number }): void {
    if (!this.#config) throw refuse("vm.resize", 404, "VM is not created");
    const cpus = this.#config.cpus as { boot_vcpus: number; max_vcpus: number } | undefined;
    if (size.desired_vcpus !== undefined) {
      if (size.desired_vcpus > (cpus?.max_vcpus ?? 1)) {
        throw refuse("vm.resize", 500, "Error from CPU manager", "Desired vCPU count exceeds maximum");
      }
      if (cpus) cpus.boot_vcpus = size.desired_vcpus;
    }
    const balloon = this.#config.balloon as { size: number } | undefined;
    if (size.desired_balloon !== undefined) {
      if (!balloon) throw refuse("vm.resize", 500, "Error from device manager", "Missing balloon device");
      balloon.size = size.desired_balloon;
    }
    const memory = this.#config.memory as { size: number; hotplug_size?: number } | undefined;
    if (size.desired_ram !== undefined && memory) {
      if (this.#state && size.desired_ram > memory.size && !memory.hotplug_size) {
        throw refuse("vm.resize", 500, "Memory manager error", "No hotplug size configured");
      }
      memory.size = size.desired_ram;
    }
  }

  /** Adds a device. Returns its PCI address, or undefined if the VM is not booted. */
  async add(action: VmAction, kind: Kind, device: Device): Promise<object | undefined> {
    if (!this.#config) throw refuse(action, 404, "VM is not created");
    const config = structuredClone(this.#config);
    config[kind] = [...((config[kind] as Device[] | undefined) ?? []), device];
    validate(action, config);
    if (this.#state) {
      device.id ??= `_${kind}${this.#serial++}`;
      if (kind !== "pmem") await this.#attach(action, kind, device);
    }
    this.#config = config;
    return this.#state && { id: device.id, bdf: this.#place(device.id ?? "") };
  }

  removeDevice(id: string): void {
    if (!this.#config) throw refuse("vm.remove-device", 404, "VM is not created");
    if (this.#state && !this.#tree.has(id)) {
      throw refuse(
        "vm.remove-device",
        404,
        "Error from device manager",
        `Failed to find device corresponding to the given identifier: ${id}`,
      );
    }
    let known = this.#state !== undefined;
    for (const kind of ["disks", "net", "fs", "devices", "pmem"]) {
      const devices = this.#config[kind] as Device[] | undefined;
      if (!devices?.some((device) => device.id === id)) continue;
      this.#config[kind] = devices.filter((device) => device.id !== id);
      known = true;
    }
    if (!known) throw refuse("vm.remove-device", 404, `No device with id "${id}" to remove`);
    if (this.#state && this.ejects) setImmediate(() => this.eject(id));
  }

  /** The guest ejects a device. */
  eject(id: string): void {
    const place = this.#tree.get(id);
    if (!place || !this.#tree.delete(id)) return;
    this.host.emit({ source: "vm", event: "device-removed", properties: { id, bdf: place.pci_bdf } });
  }

  snapshot(url: string): void {
    const state = this.#running("vm.snapshot");
    if (state !== "Paused") {
      throw refuse("vm.snapshot", 500, "Cannot snapshot VM", "Trying to snapshot while VM is running");
    }
    this.host.emit({ source: "vm", event: "snapshotting" });
    const directory = pathOf("vm.snapshot", url);
    if (!existsSync(directory) || !statSync(directory).isDirectory()) {
      throw refuse("vm.snapshot", 500, "Cannot send VM snapshot", "No such file or directory (os error 2)");
    }
    writeFileSync(`${directory}/config.json`, JSON.stringify(this.#config));
    writeFileSync(`${directory}/state.json`, JSON.stringify({ fake: [...this.#tree] }));
    writeFileSync(`${directory}/memory-ranges`, "fake memory");
    this.host.emit({ source: "vm", event: "snapshotted" });
  }

  async restore(url: string, resume: boolean): Promise<void> {
    if (this.#config) throw refuse("vm.restore", 500, "VM is already created");
    const directory = pathOf("vm.restore", url);
    for (const file of ["config.json", "state.json", "memory-ranges"]) {
      if (!existsSync(`${directory}/${file}`)) {
        throw refuse("vm.restore", 500, "Cannot restore VM", "No such file or directory (os error 2)");
      }
    }
    const config = JSON.parse(readFileSync(`${directory}/config.json`, "utf8")) as Config;
    validate("vm.restore", config);
    this.host.emit({ source: "vm", event: "restoring" });
    await this.#attachAll("vm.restore", config);
    this.#config = config;
    this.#state = "Paused";
    this.host.emit({ source: "vm", event: "restored" });
    if (resume) this.resume();
  }

  #running(action: VmAction): State {
    if (!this.#state) throw refuse(action, 500, "VM is not running");
    return this.#state;
  }

  #place(id: string): string {
    const known = this.#tree.get(id);
    if (known) return known.pci_bdf;
    const bdf = `0000:00:${(this.#slot++).toString(16).padStart(2, "0")}.0`;
    this.#tree.set(id, { pci_bdf: bdf });
    return bdf;
  }

  async #attachAll(action: VmAction, config: Config): Promise<void> {
    for (const kind of ["disks", "net", "fs", "devices"] as const) {
      for (const device of (config[kind] as Device[] | undefined) ?? []) {
        device.id ??= `_${kind}${this.#serial++}`;
        await this.#attach(action, kind, device);
      }
    }
    const vsock = config.vsock as Device | undefined;
    if (vsock) await this.#attach(action, "vsock", vsock);
  }

  async #attach(action: VmAction, kind: Attached, device: Device): Promise<void> {
    try {
      await this.host.attach(kind, device);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw refuse(action, 500, "Error from device manager", reason);
    }
    this.#place(device.id ?? `_${kind}`);
  }

  async #stop(): Promise<void> {
    this.#state = undefined;
    this.#tree.clear();
    await this.host.detachAll();
  }
}

function refuse(action: VmAction, status: number, ...causes: string[]): Refusal {
  return new Refusal(status, ["Error from API", LABELS[action], ...causes]);
}

function invalid(from: string, to: string): string {
  return `Invalid transition: InvalidStateTransition(${from}, ${to})`;
}

function pathOf(action: VmAction, url: string): string {
  if (!url.startsWith("file://")) throw refuse(action, 500, "Invalid restore source URL");
  return fileURLToPath(url);
}

/** The checks of vmm/src/config.rs that hull's configurations can fail. */
function validate(action: VmAction, config: Config): void {
  const bad = (status: number, message: string) =>
    refuse(action, status, "Failed to validate config", message);
  const lists = ["disks", "net", "fs", "pmem"].flatMap(
    (kind) => (config[kind] as Device[] | undefined) ?? [],
  );
  if (!config.payload.kernel && !config.payload.firmware)
    throw bad(400, "Payload configuration is not bootable");
  const cpus = config.cpus as { boot_vcpus: number; max_vcpus: number } | undefined;
  if (cpus && cpus.max_vcpus < cpus.boot_vcpus) {
    throw bad(400, `Max CPUs (${cpus.max_vcpus}) lower than boot CPUs (${cpus.boot_vcpus})`);
  }
  const memory = config.memory as
    | { size: number; shared?: boolean; hugepages?: boolean; mergeable?: boolean }
    | undefined;
  if (config.fs && (config.fs as Device[]).length > 0 && !memory?.shared && !memory?.hugepages) {
    throw bad(400, "Using vhost-user requires using shared memory or huge pages");
  }
  const balloon = config.balloon as { size: number } | undefined;
  if (balloon && memory && balloon.size >= memory.size) {
    throw bad(400, `Balloon size (${balloon.size}) greater than RAM (${memory.size})`);
  }
  const ids = new Set<string>();
  for (const { id } of lists) {
    if (id === undefined) continue;
    if (id.startsWith("__")) throw bad(400, `Identifier ${id} is not valid`);
    if (ids.has(id)) throw bad(409, `Identifier ${id} is not unique`);
    ids.add(id);
  }
  for (const { mtu } of (config.net as Device[] | undefined) ?? []) {
    if (typeof mtu === "number" && mtu < 1280) {
      throw bad(400, `Provided MTU ${mtu} is lower than 1280 (expected by VIRTIO specification)`);
    }
  }
  for (const { serial } of (config.disks as Device[] | undefined) ?? []) {
    if (typeof serial === "string" && Buffer.byteLength(serial) > 20) {
      throw bad(400, `Block device serial length (${serial.length}) exceeds maximum allowed length (20)`);
    }
  }
}
