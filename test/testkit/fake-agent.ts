import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import type {
  CreateContainer,
  CreateExec,
  GuestAgent,
  GuestExit,
  GuestSize,
  GuestStats,
  ProcessRef,
  SandboxSettings,
  SignalRequest,
  TerminalSize,
} from "../../src/agent/guest-agent.ts";
import type { Deadline } from "../../src/core/deadline.ts";
import { type Deferred, deferred } from "../../src/core/deferred.ts";
import { alreadyExists, failedPrecondition, notFound, unavailable } from "../../src/core/errors.ts";

interface FakeProcess {
  state: "created" | "starting" | "running" | "ended";
  readonly exit: Deferred<GuestExit>;
}

/**
 * An agent without a guest: processes run until `end` (or a deadly signal), and calls can be made to fail or
 * hang. Refuses what the real agent refuses, so that a wrong order of calls is detected.
 */
export class FakeAgent implements GuestAgent {
  readonly version = "fake";
  readonly kernelRelease = "0.0.0-fake";
  readonly calls: string[] = [];
  /** Call name -> error to throw, or promise to await first. */
  readonly faults = new Map<string, Error | Promise<unknown>>();
  readonly #processes = new Map<string, FakeProcess>();
  readonly #lost = deferred<Error>();
  readonly #events = new EventEmitter();
  readonly lost = this.#lost.promise;

  async ping(): Promise<void> {
    await this.#call("ping", "");
  }

  async startSandbox(_settings: SandboxSettings): Promise<void> {
    await this.#call("startSandbox", "");
  }

  async updateNetwork(): Promise<void> {
    await this.#call("updateNetwork", "");
  }

  async onlineResources({ vcpus, memoryMib }: GuestSize): Promise<void> {
    await this.#call("onlineResources", `${vcpus} ${memoryMib}`);
  }

  /** The requests of CreateContainer, by id. */
  readonly created = new Map<string, CreateContainer>();

  async createContainer(request: CreateContainer): Promise<void> {
    const { containerId } = request;
    await this.#call("createContainer", containerId);
    this.created.set(containerId, request);
    this.#add({ containerId, execId: "" });
  }

  async createExec({ containerId, execId }: CreateExec): Promise<void> {
    await this.#call("createExec", `${containerId}/${execId}`);
    if (this.#get({ containerId, execId: "" }).state !== "running")
      throw failedPrecondition("container is not running");
    this.#add({ containerId, execId });
  }

  async start(ref: ProcessRef): Promise<void> {
    const process = this.#get(ref);
    if (process.state !== "created") throw failedPrecondition(`${key(ref)} is ${process.state}`);
    // As in the guest: an exec whose start fails has exited.
    if (ref.execId !== "") process.state = "starting";
    await this.#call("start", key(ref)).catch((error) => {
      if (ref.execId !== "") this.#end(process, 255);
      throw error;
    });
    process.state = "running";
  }

  async wait(ref: ProcessRef): Promise<GuestExit> {
    const { exit } = this.#get(ref);
    return await Promise.race([exit.promise, this.#unavailable()]);
  }

  async signal(ref: ProcessRef, { signal }: SignalRequest): Promise<void> {
    await this.#call("signal", `${key(ref)} ${signal}`);
    const process = this.#get(ref);
    if (process.state === "ended") throw notFound(`${key(ref)}: process already finished`);
    if (ref.execId !== "" && process.state !== "running") throw notFound(`${key(ref)}: has not been started`);
    if (signal === 9 || signal === 15) this.end(ref, 128 + signal);
  }

  async resize(ref: ProcessRef, { width, height }: TerminalSize): Promise<void> {
    await this.#call("resize", `${key(ref)} ${width}x${height}`);
  }

  async delete(ref: ProcessRef): Promise<void> {
    await this.#call("delete", key(ref));
    const { state } = this.#get(ref);
    if (state === "running" || state === "starting") throw failedPrecondition(`${key(ref)} is ${state}`);
    for (const name of [...this.#processes.keys()]) {
      if (name === key(ref) || (ref.execId === "" && name.startsWith(`${ref.containerId}/`)))
        this.#processes.delete(name);
    }
  }

  async pause(containerId: string): Promise<void> {
    await this.#call("pause", containerId);
  }

  async resume(containerId: string): Promise<void> {
    await this.#call("resume", containerId);
  }

  async update(containerId: string): Promise<void> {
    await this.#call("update", containerId);
  }

  async stats(containerId: string): Promise<GuestStats> {
    await this.#call("stats", containerId);
    return { cgroupFiles: { "pids.current": "1\n" }, netDev: "" };
  }

  async openStream(token: string, _deadline: Deadline): Promise<Socket> {
    await this.#call("openStream", token);
    return new PassThrough() as unknown as Socket;
  }

  onOom(listener: (containerId: string) => void): void {
    this.#events.on("oom", listener);
  }

  async shutdown(): Promise<void> {
    await this.#call("shutdown", "");
  }

  close(): void {
    this.lose("closed by the host");
  }

  /** A process exits. Init's exit kills its execs, whose exits are reported first. */
  end(ref: ProcessRef, status: number, oomKilled = false): void {
    if (ref.execId === "") {
      for (const [name, process] of this.#processes) {
        if (name.startsWith(`${ref.containerId}/`) && name !== key(ref) && process.state === "running") {
          this.#end(process, 137);
        }
      }
    }
    this.#end(this.#get(ref), status, oomKilled);
  }

  /** The processes that have not been deleted, as `container/` and `container/exec`. */
  get processes(): string[] {
    return [...this.#processes.keys()];
  }

  /** Breaks the connection. */
  lose(why: string): void {
    this.#lost.resolve(new Error(why));
  }

  oom(containerId: string): void {
    this.#events.emit("oom", containerId);
  }

  #end(process: FakeProcess, status: number, oomKilled = false): void {
    process.state = "ended";
    process.exit.resolve({ status, at: new Date(), oomKilled, output: { stdout: 0n, stderr: 0n } });
  }

  #add(ref: ProcessRef): void {
    if (this.#processes.has(key(ref))) throw alreadyExists(`${key(ref)} exists`);
    this.#processes.set(key(ref), { state: "created", exit: deferred() });
  }

  #get(ref: ProcessRef): FakeProcess {
    const process = this.#processes.get(key(ref));
    if (!process) throw notFound(`${key(ref)} does not exist`);
    return process;
  }

  async #unavailable(): Promise<never> {
    throw unavailable((await this.lost).message);
  }

  async #call(name: string, subject: string): Promise<void> {
    this.calls.push(subject ? `${name} ${subject}` : name);
    const fault = this.faults.get(name);
    if (fault instanceof Error) throw fault;
    // No call outlives the connection.
    if (fault !== undefined) await Promise.race([fault, this.#unavailable()]);
  }
}

function key({ containerId, execId }: ProcessRef): string {
  return `${containerId}/${execId}`;
}
