import type { Deadline } from "../../../core/deadline.ts";
import { alreadyExists, failedPrecondition, notFound } from "../../../core/errors.ts";
import { KILLED_STATUS } from "../../../core/exit-status.ts";
import type { SandboxRequest } from "../../../oci/sandbox-request.ts";
import type { Pod } from "../../../pod/pod.ts";
import type { SandboxDefinition } from "../../../proto/generated/containerd/runtime/sandbox/v1/sandbox.ts";
import { toTimestamp } from "../../../proto/timestamp.ts";
import type { Sandbox } from "../../../sandbox/sandbox.ts";
import type { Handlers } from "../../../ttrpc/server.ts";
import { type CgroupMode, metricsAny } from "../stats/metrics-any.ts";
import { metricsV2 } from "../stats/metrics-v2.ts";
import { sumMetrics } from "../stats/sum.ts";
import { readSandboxRequest } from "./request.ts";

interface SandboxServiceOptions {
  readonly pod: Pod;
  /** The id of the sandbox and of the pod. */
  readonly id: string;
  /** The pod's directory. */
  readonly directory: string;
  readonly version: string;
  cgroupMode(): Promise<CgroupMode>;
  /** Called before the sandbox is created, which marks the shim as used. */
  creating(): void;
  /** Called by ShutdownSandbox; resolves when the pod was released. */
  shutdown(): Promise<void>;
}

/** containerd's sandbox service (api/runtime/sandbox/v1/sandbox.proto) on the pod model. */
export class SandboxService {
  readonly #options: SandboxServiceOptions;
  #request: SandboxRequest | undefined;
  #started: { readonly sandbox: Sandbox; readonly at: Date } | undefined;
  #exitedAt: Date | undefined;

  constructor(options: SandboxServiceOptions) {
    this.#options = options;
    void options.pod.ended.then(({ at }) => {
      this.#exitedAt = at;
    });
  }

  /** Whether the pod was created by this service. Then it runs until ShutdownSandbox, with or without containers. */
  get owns(): boolean {
    return this.#request !== undefined;
  }

  /** Returns the handlers of the service. */
  handlers(): Handlers<typeof SandboxDefinition> {
    const { pod, id } = this.#options;
    return {
      createSandbox: async (request) => {
        this.#checkId(request.sandboxId);
        this.#options.creating();
        const exists = () => this.#request !== undefined || pod.state !== "new";
        if (exists()) throw alreadyExists(`sandbox ${id} already exists`);
        const sandboxRequest = await readSandboxRequest(request, this.#options.directory);
        // Another call may have created it meanwhile, or the shim is shutting down.
        if (exists()) throw alreadyExists(`sandbox ${id} already exists`);
        this.#request = sandboxRequest;
        return {};
      },

      startSandbox: async ({ sandboxId }, { deadline }) => {
        const { sandbox, at } = await this.#start(sandboxId, deadline);
        return { pid: sandbox.pid, createdAt: toTimestamp(at), spec: undefined };
      },

      platform: ({ sandboxId }) => {
        this.#checkId(sandboxId);
        const platform = {
          os: "linux",
          architecture: goArchitecture(process.arch),
          variant: "",
          osVersion: "",
        };
        return { platform: { ...platform, osFeatures: [] } };
      },

      stopSandbox: async ({ sandboxId }, { deadline }) => {
        this.#checkId(sandboxId);
        await deadline.race(pod.stop());
        return {};
      },

      waitSandbox: async ({ sandboxId }, { deadline }) => {
        this.#checkId(sandboxId);
        const { at, reason } = await deadline.race(pod.ended);
        return { exitStatus: reason === undefined ? 0 : KILLED_STATUS, exitedAt: toTimestamp(at) };
      },

      sandboxStatus: ({ sandboxId, verbose }) => {
        this.#checkId(sandboxId);
        return {
          sandboxId,
          pid: this.#started?.sandbox.pid ?? 0,
          state: pod.state === "running" ? "SANDBOX_READY" : "SANDBOX_NOTREADY",
          info: verbose ? { info: JSON.stringify(this.#info()) } : {},
          createdAt: this.#started && toTimestamp(this.#started.at),
          exitedAt: this.#exitedAt && toTimestamp(this.#exitedAt),
          extra: undefined,
        };
      },

      pingSandbox: ({ sandboxId }) => {
        this.#checkId(sandboxId);
        if (pod.state !== "running")
          throw failedPrecondition(`sandbox ${id} is not running: it is ${pod.state}`);
        return {};
      },

      shutdownSandbox: async ({ sandboxId }) => {
        this.#checkId(sandboxId);
        await this.#options.shutdown();
        return {};
      },

      sandboxMetrics: async ({ sandboxId }, { deadline }) => {
        this.#checkId(sandboxId);
        const alive = pod.containers.filter(({ init }) => init.alive);
        const stats = await Promise.all(alive.map((container) => container.stats(deadline)));
        const data = metricsAny(await this.#options.cgroupMode(), sumMetrics(stats.map(metricsV2)));
        return { metrics: { timestamp: toTimestamp(new Date()), id, data } };
      },
    };
  }

  async #start(sandboxId: string, deadline: Deadline) {
    const { pod, id } = this.#options;
    this.#checkId(sandboxId);
    if (!this.#request) throw failedPrecondition(`sandbox ${id} cannot be started: it was not created`);
    if (pod.state !== "new") throw failedPrecondition(`sandbox ${id} cannot be started: it is ${pod.state}`);
    const sandbox = await pod.start(this.#request, deadline);
    this.#started = { sandbox, at: new Date() };
    return this.#started;
  }

  /** Throws NotFound for any sandbox but the one of this shim. */
  #checkId(id: string): void {
    if (id !== this.#options.id)
      throw notFound(`sandbox ${id} does not exist: this shim serves ${this.#options.id}`);
  }

  /** What `crictl inspectp` shows. */
  #info() {
    const { pod, version } = this.#options;
    const agent = this.#started?.sandbox.agent;
    return {
      runtime: { name: "io.containerd.hull.v2", version },
      pod: { state: pod.state, pid: this.#started?.sandbox.pid },
      guest: { agent: agent?.version, kernel: agent?.kernelRelease },
      containers: pod.containers.map(({ id, init }) => ({ id, state: init.machine.state })),
    };
  }
}

/** Returns Go's and OCI's name for an architecture of Node. */
function goArchitecture(arch: string): string {
  return { x64: "amd64", ia32: "386" }[arch] ?? arch;
}
