import { createConnection, type Socket } from "node:net";
import type { Deadline } from "../../src/core/deadline.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { QmpClient } from "../../src/hypervisor/qemu/qmp-client.ts";
import { migrated } from "../../src/hypervisor/qemu/template.ts";
import { portOf, qmpSocket, type Share } from "./command-line.ts";

/** The QMP connection to the lab's QEMU. */
export class Monitor {
  readonly #qmp: QmpClient;

  private constructor(qmp: QmpClient) {
    this.#qmp = qmp;
  }

  /** Connects to the QEMU whose files are in `directory`, as soon as it listens. */
  static async connect(directory: string, deadline: Deadline): Promise<Monitor> {
    const path = qmpSocket(directory);
    const sockets: Socket[] = [];
    await pollUntil(() => connect(path, sockets), deadline);
    const [socket] = sockets;
    if (!socket) throw new Error(`no connection to ${path}`);
    return new Monitor(await QmpClient.connect(socket, deadline));
  }

  /** Saves the whole host in a file. The host stays paused. */
  async save(path: string, deadline: Deadline): Promise<void> {
    await this.#qmp.execute("stop", undefined, deadline);
    await this.#migration(() => this.#qmp.execute("migrate", { uri: `file:${path}` }, deadline), deadline);
  }

  /** Restores the host from a file. It stays paused. */
  async restore(path: string, deadline: Deadline): Promise<void> {
    await this.#migration(
      () => this.#qmp.execute("migrate-incoming", { uri: `file:${path}` }, deadline),
      deadline,
    );
  }

  /** Runs the host. */
  async resume(deadline: Deadline): Promise<void> {
    await this.#qmp.execute("cont", undefined, deadline);
  }

  /** Resets the host, as its reset button would. */
  async reset(deadline: Deadline): Promise<void> {
    await this.#qmp.execute("system_reset", undefined, deadline);
  }

  /** Hot-plugs a shared directory; the tag is its name. */
  async plugShare(name: Share, socket: string, deadline: Deadline): Promise<void> {
    const addr = { type: "unix", data: { path: socket } } as const;
    const backend = { type: "socket", data: { addr, server: false } } as const;
    await this.#qmp.execute("chardev-add", { id: name, backend }, deadline);
    const device = { driver: "vhost-user-fs-pci", id: name, chardev: name, tag: name, "queue-size": 1024 };
    await this.plugDevice(device, deadline);
  }

  /** Hot-plugs a PCI device, without an option ROM, into its port. */
  async plugDevice(
    device: { readonly driver: string; readonly id: string },
    deadline: Deadline,
  ): Promise<void> {
    await this.#qmp.execute("device_add", { ...device, romfile: "", bus: portOf(device.id) }, deadline);
  }

  close(): void {
    this.#qmp.close();
  }

  async #migration(begin: () => Promise<unknown>, deadline: Deadline): Promise<void> {
    // mapped-ram: pages of zeros are neither saved nor touched when the host is restored.
    const capabilities = (["events", "mapped-ram"] as const).map((capability) => ({
      capability,
      state: true,
    }));
    await this.#qmp.execute("migrate-set-capabilities", { capabilities }, deadline);
    const done = migrated(this.#qmp);
    try {
      await begin();
      await deadline.race(done.promise);
    } finally {
      done.detach();
    }
  }
}

/** Adds a connection to `sockets`; returns false if nothing listens. */
function connect(path: string, sockets: Socket[]): Promise<boolean> {
  const socket = createConnection(path);
  return new Promise((resolve) => {
    socket.once("error", () => resolve(false));
    socket.once("connect", () => resolve(sockets.push(socket) > 0));
  });
}
