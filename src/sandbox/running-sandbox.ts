import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { GuestAgent } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { ignoring } from "../core/errors.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { consoleTail } from "../hypervisor/console-tail.ts";
import type { WantedGroup } from "../oci/guest-devices.ts";
import type { AssignedDevices } from "./assigned-devices.ts";
import type { Boot } from "./boot/context.ts";
import type { Surroundings } from "./boot/surroundings.ts";
import type { BootingVm } from "./boot/vm.ts";
import { sizingRule, vmGrowth } from "./boot/vm-spec.ts";
import { MODULES_OPTIONS } from "./container-host.ts";
import { containerShare } from "./container-share.ts";
import { SandboxDisks } from "./disks.ts";
import { GrowingCapacity } from "./growing-capacity.ts";
import type { NicAssignment } from "./network.ts";
import type {
  AssignedGroup,
  ContainerShare,
  HostDisk,
  PluggedDisk,
  Sandbox,
  UnresponsiveGuest,
} from "./sandbox.ts";
import { FixedCapacity, type VmCapacity } from "./vm-capacity.ts";
import { stoppedComponents, unresponsiveGuest, type WatchedVm, watchVm } from "./vm-health.ts";
import type { Health, Watchdog } from "./watchdog.ts";

/** Timeout for the guest to write its data back; the rest of the time to stop is the host's. */
const SHUTDOWN_LIMIT_MS = 1_500;

/** A pod's VM whose guest has answered: the last phase of a boot. */
export class RunningSandbox implements Sandbox {
  readonly pid: number;
  readonly capacity: VmCapacity;
  readonly share: ContainerShare;
  readonly lost: Promise<string>;
  readonly killTimeoutMs: number;
  readonly #disks: SandboxDisks;
  #assigned: AssignedDevices | undefined;
  readonly #watched: WatchedVm;
  readonly #watchdog: Watchdog;
  #stopping: Promise<unknown> | undefined;
  #killed: string | undefined;

  constructor(
    private readonly boot: Pick<Boot, "context" | "disposer" | "mounts">,
    private readonly around: Pick<Surroundings, "cgroup" | "network" | "nodes" | "share" | "user" | "kept">,
    private readonly booted: Pick<BootingVm, "vm" | "size" | "grows" | "helpers" | "componentLost">,
    readonly agent: GuestAgent,
  ) {
    const { config, directory, ledger, log, reportHealth } = boot.context;
    const { vm, helpers } = booted;
    this.pid = vm.pid;
    this.killTimeoutMs = config.runtime.kill_timeout;
    this.share = containerShare(around.share.tree);
    const nodes = around.user && around.nodes;
    this.#disks = new SandboxDisks(vm, {
      ...{ nodes, mounts: boot.mounts, ledger, kept: around.kept, directory, log },
    });
    this.capacity = this.#capacity();
    this.#watched = { vm, agent, vmmRole: config.hypervisor.type, helpers };
    const { watchdog, givenUp } = watchVm(this.#watched, config.runtime, reportHealth);
    this.#watchdog = watchdog;
    this.lost = this.#end(givenUp);
  }

  get health(): Health {
    return this.#watchdog.health;
  }

  plugDisk(disk: HostDisk, deadline: Deadline): Promise<PluggedDisk> {
    return this.#disks.plug(disk, deadline);
  }

  async assignGroup(group: WantedGroup, deadline: Deadline): Promise<AssignedGroup> {
    const { AssignedDevices } = await import("./assigned-devices.ts"); // few pods need it
    this.#assigned ??= new AssignedDevices(this.booted.vm, this.#assigning());
    return await this.#assigned.assign(group, deadline);
  }

  async moduleDirectory(): Promise<string | undefined> {
    const directory = join(dirname(this.boot.context.config.hypervisor.initrd), "modules");
    // A pod may choose the initrd: without its list, a directory of this name is none of ours, and not for guests to read.
    const list = await stat(join(directory, "modules.json")).catch(ignoring("ENOENT", "ENOTDIR"));
    return list?.isFile() ? directory : undefined;
  }

  unresponsiveGuest(deadline: Deadline): Promise<UnresponsiveGuest | undefined> {
    return unresponsiveGuest(this.#watched, deadline);
  }

  stopped(): Promise<readonly string[]> {
    return stoppedComponents(this.#watched);
  }

  refreshNetwork(deadline: Deadline): Promise<void> {
    const nics: NicAssignment = {
      assign: async (wanted) => {
        const group = await this.assignGroup(wanted, deadline);
        this.around.kept.push(`VFIO group ${wanted.path}`, () => group.unplug());
        return group;
      },
      modules: async () => {
        const source = await this.moduleDirectory();
        if (source === undefined) return undefined;
        const { guestPath } = await this.around.share.tree.addBind(source, MODULES_OPTIONS, deadline);
        return guestPath;
      },
    };
    return this.around.network.refresh(this.booted.vm, this.agent, nics, deadline);
  }

  get killed(): string | undefined {
    return this.#killed;
  }

  describe(): Snapshot {
    const { vm, vmmRole, helpers } = this.#watched;
    return {
      processes: [{ role: vmmRole, pid: vm.pid }, ...helpers.map(({ role, pid }) => ({ role, pid }))],
      health: this.health,
      capacity: this.capacity.describe(),
      ...(this.#killed !== undefined && { killed: this.#killed }),
      ...(this.#stopping && { stopping: true }),
    };
  }

  async kill(reason: string): Promise<void> {
    this.#killed ??= reason;
    this.#watchdog.stop();
    await this.booted.vm.stop(Deadline.after(0, "kill the VM"));
    // The connection need not close with the VM: the vsock backend may be what hangs.
    this.agent.close();
  }

  async stop(deadline: Deadline): Promise<void> {
    this.#stopping ??= this.#shutDown(deadline);
    await this.#stopping;
    await this.boot.disposer.dispose(deadline);
  }

  #assigning() {
    const { size, grows } = this.booted;
    const { kept, user, nodes } = this.around;
    const { config, ledger, log, warn } = this.boot.context;
    const { maxMemoryMib = size.memoryMib } = (grows && vmGrowth(config)) || {};
    return { nodes: user && nodes, maxMemoryMib, ledger, kept, log, warn };
  }

  #capacity(): VmCapacity {
    const { vm, size, grows } = this.booted;
    if (!grows) return new FixedCapacity(size);
    const { config, log } = this.boot.context;
    return new GrowingCapacity(size, {
      ...{ vm, agent: this.agent, rule: sizingRule(config), log },
      memoryLimitMib: async () => await this.around.cgroup?.currentMemoryLimitMib(),
    });
  }

  /** Resolves with the reason when the VM has exited unexpectedly, or must be stopped. */
  #end(givenUp: Promise<string>): Promise<string> {
    const { vm, componentLost } = this.booted;
    const ends = [
      componentLost.then(({ reason, console }) => `${reason}${console}`),
      this.agent.lost.then(
        ({ message }) => `the guest agent disconnected: ${message}${consoleTail(vm.console())}`,
      ),
      givenUp,
    ];
    return new Promise((resolve) => {
      for (const end of ends) {
        void end.then((reason) => {
          if (this.#stopping === undefined) resolve(this.#killed ?? reason);
        });
      }
    });
  }

  async #shutDown(by: Deadline): Promise<void> {
    const { log } = this.boot.context;
    this.#watchdog.stop();
    await Promise.all([
      this.agent
        .shutdown(by.shorter(SHUTDOWN_LIMIT_MS, "the guest's own shutdown"))
        // The VM is stopped anyway, and an unresponsive guest cannot write anything back.
        .catch((error) => log("the guest did not shut down by itself", { err: error })),
      // Leaving takes an RCU grace period, so it runs while the guest shuts down.
      this.around.cgroup?.leave().catch((error) => log("leaving the pod's cgroup failed", { err: error })),
    ]);
  }
}
