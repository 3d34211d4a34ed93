import { parseText } from "../../src/config/parse/parse-text.ts";
import { layerOf } from "../../src/config/result/layer.ts";
import { LoadedConfig } from "../../src/config/result/loaded-config.ts";
import type { Config } from "../../src/config/schema/schema.ts";
import { type Deferred, deferred } from "../../src/core/deferred.ts";
import { Disposer } from "../../src/core/disposer.ts";
import { PendingCalls } from "../../src/core/pending-calls.ts";
import { Timeline } from "../../src/core/timeline.ts";
import type { ProcessExit } from "../../src/host/process-launcher.ts";
import type { SandboxRequest } from "../../src/oci/sandbox-request.ts";
import type { Boot } from "../../src/sandbox/boot/context.ts";
import type { Surroundings } from "../../src/sandbox/boot/surroundings.ts";
import { FakeHypervisor } from "./fake-hypervisor.ts";
import { MemoryLedger } from "./memory-ledger.ts";
import { within } from "./within.ts";

/** Returns the configuration from a file with these lines, with programs that exist. */
export async function configOf(lines = ""): Promise<Config> {
  const origin = { kind: "file", source: "x.yaml", directory: "/etc/hull" } as const;
  const programs = `path: ${process.execPath}, virtio_fs_daemon: ${process.execPath}`;
  const images = `kernel: ${process.execPath}, initrd: ${process.execPath}`;
  const text = `version: 1\nhypervisor: {accel: tcg, ${programs}, ${images}}\n${lines}\n`;
  return LoadedConfig.of([layerOf(await parseText({ ...origin, text }), origin)], [], "/opt/hull").config;
}

/** A boot of the pod ns/p1, and its log. */
export interface FakeBoot extends Boot {
  readonly logged: string[];
}

/** Returns the input of a boot phase. `lines` is the configuration. */
export async function fakeBoot(lines = "", request: Partial<SandboxRequest> = {}): Promise<FakeBoot> {
  const logged: string[] = [];
  return {
    logged,
    request: { hostname: "p1", netns: undefined, sysctls: {}, limits: {}, annotations: {}, ...request },
    context: {
      ...{ namespace: "ns", id: "p1", directory: "/run/hull/ns/p1", installation: "/opt/hull" },
      config: await configOf(lines),
      ledger: new MemoryLedger(),
      caller: { namespace: "/proc/self/ns/mnt", root: "/" } as never,
      timeline: new Timeline(),
      calls: new PendingCalls(),
      log: (message) => void logged.push(message),
      info: (message) => void logged.push(message),
      warn: (message) => void logged.push(message),
      reportHealth: () => undefined,
    },
    pod: "ns/p1",
    clone: false,
    mounts: undefined as never,
    disposer: new Disposer(),
    deadline: within(60_000, "boot"),
  };
}

/** A helper process that exits on request. */
export class FakeHelper {
  readonly pid = process.pid;
  readonly #exit: Deferred<ProcessExit> = deferred();
  readonly exited = this.#exit.promise;
  forksRecorded = 0;

  constructor(readonly role: string) {}

  async recordForks(): Promise<void> {
    this.forksRecorded++;
  }

  end(reason: string): void {
    this.#exit.resolve({ reason, signal: "SIGKILL", requested: false } as ProcessExit);
  }
}

/** Surroundings without anything on the host. `steps` are the calls, in order. */
export class FakeSurroundings {
  readonly steps: string[] = [];
  readonly driver = new FakeHypervisor();
  readonly virtiofsd = new FakeHelper("virtiofsd");

  /** For the phases of the boot. */
  get value(): Surroundings {
    const did = (step: string) => void this.steps.push(step);
    return {
      vmm: process.execPath,
      user: undefined,
      directory: { path: "/run/hull/ns/p1/vm", seal: async () => did("seal directory") },
      cgroup: {
        adopt: async () => did("adopt helpers"),
        leave: async () => did("leave cgroup"),
        outside: (step: () => Promise<unknown>) => step(),
      },
      hypervisor: { driver: this.driver, accel: "tcg" },
      network: {
        netns: "/proc/self/ns/net",
        settings: { interfaces: [], routes: [] },
        nics: async () => [{ kind: "nic", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 }],
        remember: async () => did("remember network"),
        refresh: async () => did("refresh network"),
      },
      share: {
        tree: {},
        daemon: { socket: "/vm/fs.sock", process: this.virtiofsd, maxFiles: async () => 100 },
      },
      vsock: {
        device: { kind: "vhost-user", socket: "/vm/vhu.sock" },
        address: "/vm/vsock.sock",
        processes: [],
        seal: async () => did("seal vsock"),
      },
      nodes: undefined,
      kept: new Disposer(),
    } as unknown as Surroundings;
  }
}
