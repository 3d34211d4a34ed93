import { setTimeout as sleep } from "node:timers/promises";
import { BUSYBOX } from "./ctr.ts";
import { type GrpcClient, GrpcSocket } from "./grpc-client.ts";
import {
  ContainerConfig,
  ContainerFilter,
  ContainerState,
  type ContainerStatus,
} from "./proto/generated/runtime/v1/container.ts";
import { ImageServiceDefinition } from "./proto/generated/runtime/v1/image.ts";
import { PodSandboxConfig, type PodSandboxStatus } from "./proto/generated/runtime/v1/pod.ts";
import { RuntimeServiceDefinition } from "./proto/generated/runtime/v1/runtime.ts";

/** The command of a container that sleeps until SIGTERM: many busy loops would saturate an emulated CPU. */
export const IDLE = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"] as const;

export type PodSettings = Parameters<typeof PodSandboxConfig.fromPartial>[0];
export type ContainerSettings = Parameters<typeof ContainerConfig.fromPartial>[0];

/** The result of a command in a container. */
interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Kubernetes' Container Runtime Interface, as the kubelet speaks it to containerd's CRI plugin. */
export class Cri {
  readonly #socket: GrpcSocket;
  /** All calls; the methods below are what tests usually need. */
  readonly runtime: GrpcClient<typeof RuntimeServiceDefinition>;
  readonly images: GrpcClient<typeof ImageServiceDefinition>;
  readonly #pods = new Set<CriPod>();
  #count = 0;

  /** `address`: the path of containerd's gRPC socket. */
  constructor(address: string) {
    this.#socket = new GrpcSocket(address);
    this.runtime = this.#socket.client(RuntimeServiceDefinition);
    this.images = this.#socket.client(ImageServiceDefinition);
  }

  /** Runs a pod with a runtime handler. Fields missing in `settings` get unique values. */
  async runPod(handler: string, settings: PodSettings = {}, timeoutMs = 120_000): Promise<CriPod> {
    this.#count += 1;
    const name = `pod-${process.pid}-${this.#count}`;
    const config = PodSandboxConfig.fromPartial({
      metadata: { name, uid: name, namespace: "hull-test", attempt: 0 },
      linux: {},
      ...settings,
    });
    const { podSandboxId } = await this.runtime.runPodSandbox(
      { config, runtimeHandler: handler },
      { timeoutMs },
    );
    const pod = new CriPod(this, podSandboxId, config);
    this.#pods.add(pod);
    return pod;
  }

  /** Stops and removes every remaining pod of this client. For `afterEach`. */
  async removePods(): Promise<void> {
    const pods = [...this.#pods];
    this.#pods.clear();
    await Promise.all(pods.map((pod) => pod.remove()));
  }

  forget(pod: CriPod): void {
    this.#pods.delete(pod);
  }

  /** Call it while containerd is down: resolves once it answers again. */
  reconnected(): Promise<void> {
    return this.#socket.reconnected();
  }

  close(): void {
    this.#socket.close();
  }
}

/**
 * Whether containerd refused to stop a container because it was closing the task's connection; a retry
 * succeeds.
 */
export function isStopping(error: Error): boolean {
  return error.message.endsWith("ttrpc: closed");
}

/** A pod made by `Cri.runPod`. */
export class CriPod {
  #count = 0;

  constructor(
    readonly cri: Cri,
    readonly id: string,
    readonly config: PodSandboxConfig,
  ) {}

  async status(): Promise<PodSandboxStatus> {
    const { status } = await this.cri.runtime.podSandboxStatus({ podSandboxId: this.id });
    if (!status) throw new Error(`pod ${this.id}: the runtime answered without a status`);
    return status;
  }

  /** Creates a container; `command` is the whole command line. */
  async create(
    command: readonly string[],
    settings: ContainerSettings = {},
    timeoutMs = 60_000,
  ): Promise<CriContainer> {
    this.#count += 1;
    const config = ContainerConfig.fromPartial({
      metadata: { name: `container-${this.#count}`, attempt: 0 },
      image: { image: BUSYBOX },
      command: [...command],
      linux: {},
      ...settings,
    });
    const { containerId } = await this.cri.runtime.createContainer(
      { podSandboxId: this.id, config, sandboxConfig: this.config },
      { timeoutMs },
    );
    return new CriContainer(this.cri, containerId);
  }

  /** Creates and starts a container. */
  async run(command: readonly string[], settings: ContainerSettings = {}): Promise<CriContainer> {
    const container = await this.create(command, settings);
    await container.start();
    return container;
  }

  async stop(): Promise<void> {
    await this.cri.runtime.stopPodSandbox({ podSandboxId: this.id });
  }

  /** Its containers, in any state. */
  async containers(): Promise<CriContainer[]> {
    const filter = ContainerFilter.fromPartial({ podSandboxId: this.id });
    const { containers } = await this.cri.runtime.listContainers({ filter });
    return containers.map(({ id }) => new CriContainer(this.cri, id));
  }

  /** Stops and removes the pod with its containers. */
  async remove(): Promise<void> {
    await this.stop();
    await Promise.all((await this.containers()).map((container) => container.remove()));
    await this.cri.runtime.removePodSandbox({ podSandboxId: this.id });
    this.cri.forget(this);
  }
}

/** A container made by `CriPod.create`. */
export class CriContainer {
  constructor(
    readonly cri: Cri,
    readonly id: string,
  ) {}

  async start(timeoutMs = 60_000): Promise<void> {
    await this.cri.runtime.startContainer({ containerId: this.id }, { timeoutMs });
  }

  async status(): Promise<ContainerStatus> {
    const { status } = await this.cri.runtime.containerStatus({ containerId: this.id });
    if (!status) throw new Error(`container ${this.id}: the runtime answered without a status`);
    return status;
  }

  /** Resolves with the status once the container has exited. */
  async exited(withinMs = 60_000): Promise<ContainerStatus> {
    const end = performance.now() + withinMs;
    for (;;) {
      const status = await this.status();
      if (status.state === ContainerState.CONTAINER_EXITED) return status;
      if (performance.now() > end)
        throw new Error(`container ${this.id} did not exit within ${withinMs} ms: state ${status.state}`);
      await sleep(50);
    }
  }

  /** Runs a command in the container to its end, whatever its exit status. */
  async exec(command: readonly string[], timeoutSeconds = 30): Promise<ExecResult> {
    const { exitCode, stdout, stderr } = await this.cri.runtime.execSync({
      containerId: this.id,
      cmd: [...command],
      timeout: BigInt(timeoutSeconds),
    });
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");
    return { code: exitCode, stdout: text(stdout), stderr: text(stderr) };
  }

  async sh(script: string): Promise<ExecResult> {
    return await this.exec(["sh", "-c", script]);
  }

  /** Stops it; SIGKILL follows after `timeoutSeconds`. */
  async stop(timeoutSeconds = 0): Promise<void> {
    await this.cri.runtime.stopContainer({ containerId: this.id, timeout: BigInt(timeoutSeconds) });
  }

  /**
   * Stops and removes it. After a container's exit, containerd deletes its task before it records the new
   * state; in between, a removal fails because the container still runs, and a stop because the task's
   * connection is closed. Retries, as the kubelet does.
   */
  async remove(): Promise<void> {
    await this.stop().catch(async (error: Error) => {
      if (!isStopping(error)) throw error;
      await this.exited();
    });
    if ((await this.status()).state === ContainerState.CONTAINER_RUNNING) await this.exited();
    await this.cri.runtime.removeContainer({ containerId: this.id });
  }
}
