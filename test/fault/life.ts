import { stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { ociAny, statusName } from "../testkit/containerd-client.ts";
import type { CallOptions } from "../testkit/grpc-client.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { Status } from "../testkit/proto/generated/containerd/services/tasks.ts";
import type { Fired } from "./inside/control.ts";
import type { Lane } from "./lane.ts";
import type { FaultCase, Step } from "./matrix.ts";

/** What a call of the client has come to. */
export interface Call {
  readonly step: Step | "clean-up";
  /** `create f1`. */
  readonly what: string;
  /** `OK` or the name of the gRPC status. */
  readonly code: string;
  readonly message: string;
  /** Unix times in ms. */
  readonly begun: number;
  readonly ended: number;
}

/** An answer to Wait. */
export interface Waited {
  readonly id: string;
  readonly status: number | undefined;
  readonly code: string;
  readonly at: number;
}

/** How long a client waits for a part that has stopped before it goes away, kills or is helped by an administrator. */
const PATIENCE_MS = 1_500;
/** Far beyond what any step takes, however busy the machine is. */
export const FAR_MS = 60_000;
const LOOK_MS = 25;
const CUT_BYTES = 20;
/** When a container that still runs is killed once more: later than the lanes' `kill_timeout`. */
const AGAIN_MS = 4_000;
const SIGKILL = 9;

/** A client that lives through a pod's life, with one fault in it. */
export class Life {
  readonly calls: Call[] = [];
  readonly waits: Promise<Waited>[] = [];
  readonly waited: Waited[] = [];
  /** The containers of which Create said that they are there. */
  readonly created: string[] = [];
  fired: Fired | undefined;
  readonly id: string;
  readonly #lane: Lane;
  readonly #case: FaultCase;
  /** Of the call that is under way. */
  #abort = new AbortController();
  #over = false;
  /** The client has lost its patience: it calls nothing more of the pod's life. */
  #gone = false;
  #helped: Promise<void> = Promise.resolve();
  readonly #records: string[] = [];

  constructor(lane: Lane, fault: FaultCase, id: string) {
    this.#lane = lane;
    this.#case = fault;
    this.id = id;
  }

  /** Whether the client went away in the middle of a call, with which containerd goes on. */
  get gone(): boolean {
    return this.#gone;
  }

  get pod() {
    return { namespace: this.#lane.namespace, id: this.id };
  }

  /** Lives until the end or until a call fails. */
  async live(): Promise<void> {
    const { shape, at, part, how, nth, broken } = this.#case;
    const term = how === "error" ? "error(ENOSPC: no space left on device)" : `${how}(${part})`;
    const terms = `${nth > 1 ? `${nth - 1}*off->` : ""}1*${term}`;
    await this.#lane.installation.arm(this.pod, {
      points: {
        ...(at !== "now" && { [at]: terms }),
        ...(broken === "delete" && { "run:cleanup": "100*panic(the clean-up is broken)" }),
      },
      pids: { containerd: await this.#lane.containerdPid() },
    });
    const following = this.#follow();
    try {
      const container = shape === "pod" ? `${this.id}-c` : this.id;
      if (shape === "pod") {
        await this.#create(this.id, "sandbox");
        await this.#start(this.id);
      }
      await this.#create(container, shape === "pod" ? "container" : undefined);
      await this.#now("created");
      await this.#start(container);
      await this.#now("running");
      await this.#exec(container);
      await this.#end(container);
      if (shape === "pod") await this.#end(this.id);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
    } finally {
      this.#over = true;
      await following;
      await this.#helped;
    }
  }

  /** Takes away whatever is left, as an administrator does; rejects when that does not work. */
  async remove(): Promise<void> {
    const { tasks } = this.#lane.client;
    for (const containerId of [`${this.id}-c`, this.id]) {
      if (!this.#records.includes(containerId)) continue;
      const ref = { containerId, execId: "" };
      const limit = Date.now() + FAR_MS;
      for (;;) {
        const state = await this.#try("clean-up", `state of ${containerId}`, (options) =>
          tasks.get(ref, options),
        );
        if (state.code === "NOT_FOUND") break;
        if (Date.now() > limit) throw new Error(`task ${containerId} cannot be removed: ${state.code}`);
        if (state.value?.process?.status !== Status.STOPPED) {
          await this.#try("clean-up", `kill ${containerId}`, (options) =>
            tasks.kill({ ...ref, signal: SIGKILL, all: true }, options),
          );
          // In a pod of several containers the second SIGKILL is the one that ends the VM where the first one does not help.
          await this.#try("clean-up", `wait for ${containerId}`, (options) =>
            tasks.wait(ref, { ...options, timeoutMs: AGAIN_MS }),
          );
        }
        await this.#try("clean-up", `delete ${containerId}`, (options) =>
          tasks.delete({ containerId }, options),
        );
      }
    }
    for (const record of this.#records.splice(0)) await this.#lane.client.removeRecord(record);
  }

  /** Uses the id for a pod that has no faults; gives what its container ended with. */
  async again(): Promise<number> {
    const { client, installation } = this.#lane;
    await installation.disarm(this.pod);
    const containerId = this.id;
    const rootfs = await this.#record(
      containerId,
      undefined,
      ["sh", "-c", "exit 6"],
      this.#lane.config("clone"),
    );
    await client.tasks.create({ containerId, rootfs }, { timeoutMs: FAR_MS });
    await client.tasks.start({ containerId, execId: "" }, { timeoutMs: FAR_MS });
    const { exitStatus } = await client.tasks.wait({ containerId, execId: "" }, { timeoutMs: FAR_MS });
    await client.tasks.delete({ containerId }, { timeoutMs: FAR_MS });
    return exitStatus;
  }

  async #create(id: string, kind: "sandbox" | "container" | undefined): Promise<void> {
    const asking = this.#case.at === "run:protocol";
    const config = this.#lane.config(asking ? "asking" : this.#case.base);
    const rootfs = await this.#record(id, kind, ["sleep", "100000"], config);
    const { tasks } = this.#lane.client;
    await this.#call("create", `create ${id}`, (options) =>
      tasks.create({ containerId: id, rootfs }, options),
    );
    this.created.push(id);
    this.waits.push(this.#wait(id));
  }

  async #record(id: string, kind: string | undefined, args: readonly string[], configPath: string) {
    const { client, installation, netns } = this.#lane;
    const rootfs = await client.record({
      ...{ id, runtime: installation.runtime, configPath },
      edit: (spec) => {
        spec.process.args = [...args];
        spec.process.terminal = false;
        for (const namespace of spec.linux.namespaces)
          if (namespace.type === "network") namespace.path = netns.path;
        if (kind !== undefined) {
          spec.annotations = {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-id": this.id,
          };
        }
      },
    });
    this.#records.push(id);
    return rootfs;
  }

  async #start(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    await this.#call("run", `start ${id}`, (options) =>
      tasks.start({ containerId: id, execId: "" }, options),
    );
  }

  async #exec(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId: id, execId: "e1" };
    const process = { args: ["sleep", "100000"], cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
    await this.#call("exec", `exec in ${id}`, (options) =>
      tasks.exec({ ...ref, spec: ociAny("Process", process) }, options),
    );
    await this.#call("exec", `start exec in ${id}`, (options) => tasks.start(ref, options));
  }

  async #end(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId: id, execId: "" };
    await this.#call("kill", `kill ${id}`, (options) =>
      tasks.kill({ ...ref, signal: SIGKILL, all: true }, options),
    );
    await this.#call("kill", `wait for ${id}`, (options) => tasks.wait(ref, options));
    await this.#call("delete", `delete ${id}`, (options) => tasks.delete({ containerId: id }, options));
  }

  /** The fault of a case whose time is between two calls. */
  async #now(step: Step): Promise<void> {
    const { at, part, how } = this.#case;
    if (at !== "now" || this.#case.step !== step) return;
    const pids = await this.#pidsOf(part);
    this.fired = { at: Date.now(), point: at, action: `${how}(${part})`, pids };
    for (const pid of pids) process.kill(pid, how === "kill" ? "SIGKILL" : "SIGSTOP");
    this.#helped = this.#help(this.fired);
    await this.#helped;
    // A client that does nothing is told, too; one that is not, goes on.
    if (how === "kill" && part !== "pod-localhost" && part !== "containerd")
      await within(Promise.all(this.waits));
  }

  async #pidsOf(part: string): Promise<number[]> {
    if (part === "containerd") return [await this.#lane.containerdPid()];
    const found = await podProcesses(this.#lane.namespace, this.id);
    const [parent, ...children] = found.get(part === "virtiofsd-worker" ? "virtiofsd" : part) ?? [];
    if (part === "virtiofsd-worker") return children;
    return parent === undefined ? [] : [parent];
  }

  /** Learns of the fault as soon as it happens, and does what has to be done then for the test to go on. */
  async #follow(): Promise<void> {
    if (this.#case.at === "now") return;
    for (;;) {
      // Once more after the end: the last call may have been the one.
      const last = this.#over;
      [this.fired] = await this.#lane.installation.fired(this.pod);
      if (this.fired) {
        this.#helped = this.#help(this.fired);
        return;
      }
      if (last) return;
      await pause(LOOK_MS);
    }
  }

  async #help({ pids }: Fired): Promise<void> {
    const { part, how } = this.#case;
    if (how === "kill") {
      if (part === "containerd") await this.#lane.restart();
      return;
    }
    if (how !== "stop") return;
    await pause(PATIENCE_MS);
    if (part === "containerd") for (const pid of pids) process.kill(pid, "SIGCONT");
    // Nothing but an administrator ends a shim that hangs; containerd does not ask after them.
    else if (part === "shim") {
      if (this.#case.broken === "ledger") await this.#cutLedger();
      for (const pid of pids) process.kill(pid, "SIGKILL");
    } else if (part !== "pod-localhost") {
      this.#gone = true;
      this.#abort.abort();
    }
  }

  /** Nobody writes it while its shim is stopped. */
  async #cutLedger(): Promise<void> {
    const ledger = join("/run/hull", this.#lane.namespace, this.id, "state.json");
    await truncate(ledger, (await stat(ledger)).size - CUT_BYTES);
  }

  async #wait(id: string): Promise<Waited> {
    const { tasks } = this.#lane.client;
    const told = await tasks.wait({ containerId: id, execId: "" }, { timeoutMs: 10 * FAR_MS }).then(
      ({ exitStatus }) => ({ status: exitStatus, code: "OK" }),
      (error: unknown) => ({ status: undefined, code: statusName(error) }),
    );
    const waited = { id, ...told, at: Date.now() };
    this.waited.push(waited);
    return waited;
  }

  /** Throws CallFailed. */
  async #call<T>(step: Step, what: string, run: (options: CallOptions) => Promise<T>): Promise<T> {
    if (this.#gone) throw new CallFailed(`${what}: the client has gone away`);
    const { value, code } = await this.#try(step, what, run);
    if (code !== "OK") throw new CallFailed(`${what}: ${code}`);
    return value as T;
  }

  async #try<T>(
    step: Call["step"],
    what: string,
    run: (options: CallOptions) => Promise<T>,
  ): Promise<{ value?: T; code: string }> {
    this.#abort = new AbortController();
    const begun = Date.now();
    const note = (code: string, message: string) =>
      this.calls.push({ step, what, code, message, begun, ended: Date.now() });
    try {
      const value = await run({ timeoutMs: FAR_MS, signal: this.#abort.signal });
      note("OK", "");
      return { value, code: "OK" };
    } catch (error) {
      const code = statusName(error);
      note(code, (error as { details?: string }).details ?? "");
      return { code };
    }
  }
}

class CallFailed extends Error {}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for something that ought to happen, and gives it up far too late. */
async function within(promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FAR_MS / 2);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
