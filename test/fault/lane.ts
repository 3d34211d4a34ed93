import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeConfig } from "../e2e/hull-config.ts";
import { CniNetns, hostLocal } from "../testkit/cni.ts";
import { Containerd, type Line } from "../testkit/containerd.ts";
import { ContainerdClient } from "../testkit/containerd-client.ts";
import type { Ctr } from "../testkit/ctr.ts";
import { type LeakScope, leaksSince, snapshot } from "../testkit/leaks.ts";
import { TaskEvents } from "../testkit/task-events.ts";
import type { FaultyInstallation } from "./installation.ts";
import type { Base } from "./matrix.ts";

/** `runtime.kill_timeout` for an unresponsive guest: short, to keep cases short. */
const KILL_TIMEOUT = "2s";
/** How many warnings a failed case shows. */
const WARNINGS = 12;

interface LaneSettings {
  readonly index: number;
  readonly line: Line;
  readonly installation: FaultyInstallation;
  /** The directory of the templates of all lanes. */
  readonly templates: string;
}

/** What exists in a lane: the leak check's view, and the pods' network namespace. */
export interface Inventory {
  readonly resources: ReadonlySet<string>;
  readonly network: readonly string[];
}

/** A separate containerd and a network namespace, in which one case runs at a time. */
export class Lane {
  #events: TaskEvents;
  #count = 0;

  private constructor(
    readonly installation: FaultyInstallation,
    readonly containerd: Containerd,
    readonly client: ContainerdClient,
    readonly netns: CniNetns,
  ) {
    this.#events = new TaskEvents(client);
  }

  static async up({ index, line, installation, templates }: LaneSettings): Promise<Lane> {
    const containerd = await Containerd.up(line);
    const ctr: Ctr = await containerd.namespace(`fault-${process.pid}-${index}`);
    const client = new ContainerdClient(containerd.address, ctr);
    const netns = await CniNetns.create(`hull-fault-${process.pid}-${index}`);
    const octet = (process.pid % 100) * 2 + index;
    await netns.add({ type: "ptp", ipam: hostLocal(containerd.directory, `10.215.${octet}.0/24`) }, "eth0");
    const lane = new Lane(installation, containerd, client, netns);
    for (const [name, enable] of [["clone", true] as const, ["cold", false] as const]) {
      await writeConfig(lane.config(name), {
        hypervisor: { template: { enable, template_path: templates } },
        runtime: { kill_timeout: KILL_TIMEOUT },
      });
    }
    // With this text in the configuration, the launcher asks the daemon's program for the protocol.
    await writeConfig(lane.config("asking"), { hypervisor: { kernel_params: "hull.comment=grpc" } });
    return lane;
  }

  get namespace(): string {
    return this.client.namespace;
  }

  get events(): TaskEvents {
    return this.#events;
  }

  get scope(): LeakScope {
    return { namespace: this.namespace, directory: this.containerd.directory };
  }

  /** Returns an unused id. */
  id(): string {
    this.#count += 1;
    return `f${this.#count}`;
  }

  /** The configuration file of a kind of pod. */
  readonly config = (base: Base | "asking"): string => join(this.containerd.directory, `${base}.yaml`);

  async containerdPid(): Promise<number> {
    return Number(await readFile(join(this.containerd.directory, "containerd.pid"), "utf8"));
  }

  /** Kills containerd, if it still runs, starts it again and connects. */
  async restart(): Promise<void> {
    await this.containerd.kill();
    const restarting = this.containerd.restart();
    await this.client.reconnected();
    await restarting;
    this.#events = new TaskEvents(this.client);
  }

  /** Resolves with the last warnings of containerd and the shims about a pod. */
  async warnings(id: string): Promise<string[]> {
    const log = (await this.containerd.log(Number.POSITIVE_INFINITY)).split("\n");
    return log
      .filter(
        (line) => new RegExp(`\\b${id}\\b`).test(line) && /level=(warn|error)|"level":[4-6]0/.test(line),
      )
      .slice(-WARNINGS);
  }

  async inventory(): Promise<Inventory> {
    return { resources: await snapshot(this.scope), network: await this.netns.state() };
  }

  /** Resolves with what exists and did not before; waits for cleanup that continues after the answers. */
  async leftSince(before: Inventory, withinMs: number): Promise<string[]> {
    // containerd itself may have been restarted.
    const containerd = `process ${await this.containerdPid()} `;
    const own = [...(await snapshot(this.scope))].filter((one) => one.startsWith(containerd));
    const resources = await leaksSince(new Set([...before.resources, ...own]), this.scope, withinMs);
    const network = (await this.netns.state()).filter((one) => !before.network.includes(one));
    return [...resources, ...network.map((one) => `network: ${one}`)];
  }

  async down(): Promise<void> {
    this.client.close();
    await this.containerd.down();
    await this.netns.remove();
  }
}
