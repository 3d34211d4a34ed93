import { existsSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Device } from "./cloud-hypervisor-api-vm.ts";

/** The host sides of the fake VM's devices: what the real VMM opens, connects to or binds when a device is made. */
export class FakeVmDevices {
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Map<Server, string>();

  constructor(readonly checkHost: boolean) {}

  /** Rejects with the real one's innermost reasons when the device's host side is not there. */
  async attach(kind: "disks" | "net" | "fs" | "vsock", device: Device): Promise<void> {
    if (kind === "vsock") return await this.#bind(String(device.socket));
    if (!this.checkHost) return;
    if (kind === "disks" && !existsSync(String(device.path))) {
      throw new Error(`Failed to open disk path: No such file or directory (os error 2)`);
    }
    if (kind === "net" && !interfaces().includes(String(device.tap))) {
      throw new Error(`Failed to open taps: no interface ${device.tap} in this network namespace`);
    }
    if (kind === "fs") await this.#dial(String(device.socket));
  }

  async detachAll(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    for (const [server, path] of this.#servers) {
      server.close();
      rmSync(path, { force: true });
    }
    this.#servers.clear();
  }

  /** The hybrid vsock socket. The fake guest listens on no port: a CONNECT is answered by closing, as the real one does. */
  async #bind(path: string): Promise<void> {
    if (existsSync(path))
      throw new Error("Error binding to the host-side Unix socket: Address in use (os error 98)");
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end());
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
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

/** /proc/self/net is of the process's own network namespace, whatever is mounted on /sys. */
function interfaces(): string[] {
  return readFileSync("/proc/self/net/dev", "utf8")
    .split("\n")
    .slice(2)
    .map((line) => line.split(":")[0]?.trim() ?? "");
}
