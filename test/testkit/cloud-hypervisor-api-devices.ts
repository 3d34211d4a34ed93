import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { basename } from "node:path";
import type { Attached } from "./cloud-hypervisor-api-vm.ts";

export type Device = Record<string, unknown> & { id?: string };

/**
 * The host side of the fake VM's devices: what the real VMM opens, connects to or binds when a device is
 * created.
 */
export class FakeVmDevices {
  readonly #files: number[] = [];
  readonly #taps: ChildProcess[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Map<Server, string>();

  /** `tapOpener`: the program open-tap.c. */
  constructor(
    readonly checkHost: boolean,
    readonly tapOpener: string | undefined,
  ) {}

  /** Opens what every VM opens at boot, whatever its devices. */
  boot(rng: string): void {
    if (!this.checkHost) return;
    if (existsSync("/dev/kvm")) this.#open("/dev/kvm", "r+", "Failed to open KVM");
    this.#open(rng, "r", "Failed to open the source of random numbers");
  }

  /** Opens the host side of a device. Rejects with Cloud Hypervisor's innermost cause if it is missing. */
  async attach(kind: Attached, device: Device): Promise<void> {
    if (kind === "vsock") return await this.#bind(String(device.socket));
    if (!this.checkHost) return;
    if (kind === "disks")
      this.#open(String(device.path), device.readonly ? "r" : "r+", "Failed to open disk path");
    if (kind === "net") await this.#openTap(String(device.tap), device.mtu);
    if (kind === "devices") this.#openGroup(String(device.path));
    if (kind === "fs") await this.#dial(String(device.socket));
  }

  #open(path: string, flags: string, what: string): void {
    this.#files.push(opened(path, flags, what));
  }

  /** A VFIO device's group, and with it the IOMMU, is opened by the number in sysfs. */
  #openGroup(path: string): void {
    if (!existsSync(path))
      throw new Error("Failed to create VFIO device: No such file or directory (os error 2)");
    const group = basename(readlinkSync(`${path}/iommu_group`));
    this.#open(`/dev/vfio/${group}`, "r+", "Failed to open VFIO group");
  }

  /** Runs the opener as this process's user, in the same network namespace. */
  async #openTap(tap: string, mtu: unknown): Promise<void> {
    if (!interfaces().includes(tap))
      throw new Error(`Failed to open taps: no interface ${tap} in this network namespace`);
    if (!this.tapOpener) return;
    const arguments_ = typeof mtu === "number" ? [tap, String(mtu)] : [tap];
    const child = spawn(this.tapOpener, arguments_, { stdio: ["pipe", "pipe", "ignore"] });
    const answer = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.stdout.once("data", (data: Buffer) => resolve(String(data).trim()));
      child.once("exit", (code) => resolve(`it exited with status ${code}`));
    });
    if (answer !== "ready") throw new Error(`Failed to open taps: ${answer}`);
    this.#taps.push(child);
  }

  async detachAll(): Promise<void> {
    for (const file of this.#files.splice(0)) closeSync(file);
    for (const tap of this.#taps.splice(0)) tap.kill();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    for (const [server, path] of this.#servers) {
      server.close();
      rmSync(path, { force: true });
    }
    this.#servers.clear();
  }

  /**
   * Binds the hybrid vsock socket. The fake guest listens on no port: a CONNECT is answered by closing, as
   * Cloud Hypervisor does.
   */
  async #bind(path: string): Promise<void> {
    if (existsSync(path))
      throw new Error("Error binding to the host-side Unix socket: Address in use (os error 98)");
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end());
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        reject(new Error(`Error binding to the host-side Unix socket: ${error.code}`)),
      );
      server.listen(path, resolve);
    });
    this.#servers.set(server, path);
  }

  async #dial(path: string): Promise<void> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) =>
        reject(new Error(`Failed to connect to vhost-user socket: ${error.message}`)),
      );
    });
    socket.on("error", () => socket.destroy());
    this.#sockets.add(socket);
  }
}

/** Opens a file. Throws with Cloud Hypervisor's message. */
export function opened(path: string, flags: string, what: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException;
    const text = { ENOENT: "No such file or directory", EACCES: "Permission denied" }[code ?? ""] ?? code;
    throw new Error(`${what}: ${text} (os error ${-(errno ?? 0)})`);
  }
}

/** /proc/self/net shows this process's network namespace, whatever is mounted on /sys. */
function interfaces(): string[] {
  return readFileSync("/proc/self/net/dev", "utf8")
    .split("\n")
    .slice(2)
    .map((line) => line.split(":")[0]?.trim() ?? "");
}
