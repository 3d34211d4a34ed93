import { Deadline } from "../../src/core/deadline.ts";
import { type Deferred, deferred } from "../../src/core/deferred.ts";
import { resourceExhausted } from "../../src/core/errors.ts";
import type { WantedGroup } from "../../src/oci/guest-devices.ts";
import type { Container } from "../../src/pod/container.ts";
import { type CreateRequest, Pod } from "../../src/pod/pod.ts";
import type { ProcessIo } from "../../src/pod/stdio.ts";
import type {
  AssignedGroup,
  ContainerShare,
  HostDisk,
  PluggedDisk,
  Sandbox,
  UnresponsiveGuest,
} from "../../src/sandbox/sandbox.ts";
import { FixedCapacity, type VmCapacity } from "../../src/sandbox/vm-capacity.ts";
import type { Health } from "../../src/sandbox/watchdog.ts";
import { FakeAgent } from "./fake-agent.ts";

/** A sandbox without a VM, which tracks what is shared and not yet released. */
export class FakeSandbox implements Sandbox {
  readonly pid = 4242;
  readonly agent = new FakeAgent();
  health: Health = { unresponsive: [], forMs: 0 };
  capacity: VmCapacity = new FixedCapacity({ vcpus: 2, memoryMib: 256 });
  readonly shared = new Set<string>();
  stops = 0;
  readonly #lost: Deferred<string> = deferred();
  readonly lost = this.#lost.promise;
  readonly share: ContainerShare = {
    add: async (containerId, rootfs) => {
      this.shared.add(containerId);
      return {
        rootfs: rootfs && `/run/hull/shared/${containerId}/rootfs`,
        bind: async (mount) => `/run/hull/shared/${containerId}${mount.destination}`,
        release: async () => {
          this.shared.delete(containerId);
        },
      };
    },
  };

  /** Hot-plugged disks, as "major:minor" or path. */
  readonly disks = new Set<string>();
  /** The number of hot-plug ports. */
  ports = 4;

  async plugDisk({ source }: HostDisk): Promise<PluggedDisk> {
    if (this.disks.size === this.ports) throw resourceExhausted("all hotplug ports are in use");
    const disk = "path" in source ? source.path : `${source.major}:${source.minor}`;
    this.disks.add(disk);
    const unplug = async () => void this.disks.delete(disk);
    return { serial: `serial-${this.disks.size}`, unplug };
  }

  /** Assigned VFIO groups, by path. */
  readonly groups = new Set<string>();

  async assignGroup({ path }: WantedGroup): Promise<AssignedGroup> {
    this.groups.add(path);
    const unplug = async () => void this.groups.delete(path);
    return { addresses: ["0000:01:00.0"], pciPaths: ["05.0/00.0"], unplug };
  }

  async moduleDirectory(): Promise<string | undefined> {
    return "/hull/guest/modules";
  }

  /** The number of calls of refreshNetwork. */
  refreshes = 0;

  async refreshNetwork(): Promise<void> {
    this.refreshes++;
  }

  async stop(): Promise<void> {
    this.stops++;
    this.agent.lose("the VM was stopped");
  }

  /** Why the guest does not answer. */
  unresponsive: UnresponsiveGuest | undefined;

  async unresponsiveGuest(): Promise<UnresponsiveGuest | undefined> {
    return this.unresponsive;
  }

  stoppedComponents: readonly string[] = [];

  async stopped(): Promise<readonly string[]> {
    return this.stoppedComponents;
  }

  killTimeoutMs = 5_000;
  kills = 0;

  killed: string | undefined;

  async kill(reason: string): Promise<void> {
    this.kills++;
    this.killed ??= reason;
    this.lose(this.killed);
  }

  describe() {
    return { pid: this.pid };
  }

  /** The VM dies. */
  lose(reason: string): void {
    this.agent.lose(reason);
    this.#lost.resolve(reason);
  }
}

/** Returns streams to nowhere that are drained at once and record whether they were closed. */
export function fakeIo(): ProcessIo & { closed: boolean } {
  return {
    terminal: false,
    wants: { stdin: false, stdout: true, stderr: true },
    closed: false,
    attach: () => undefined,
    closeStdin: () => undefined,
    describe: () => ({}),
    drained: async () => undefined,
    async close() {
      this.closed = true;
    },
  };
}

/** Returns the pod p1 on a sandbox, without event sink and log. */
export function podOn(sandbox: Sandbox): Pod {
  return new Pod({
    id: "p1",
    boot: async () => sandbox,
    publish: () => undefined,
    log: () => undefined,
  });
}

/** Creates a container from a request that needs no preparation. */
export function create(
  pod: Pod,
  { id, ...request }: CreateRequest & { readonly id: string },
  deadline: Deadline = Deadline.none(),
): Promise<Container> {
  return pod.create(id, async () => request, deadline);
}
