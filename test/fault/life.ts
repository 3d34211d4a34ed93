import { stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { ociAny, statusName } from "../testkit/containerd-client.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { Administrator, SIGKILL } from "./administrator.ts";
import { CallFailed, Calls, FAR_MS } from "./calls.ts";
import type { Fired } from "./inside/control.ts";
import type { Lane } from "./lane.ts";
import type { FaultCase, Step } from "./matrix.ts";

/** An answer to Wait. */
interface Waited {
  readonly id: string;
  readonly status: number | undefined;
  readonly code: string;
  readonly at: number;
}

/** How long a client waits for a stopped component before it disconnects, kills or needs an administrator. */
const PATIENCE_MS = 1_500;
const CHECK_MS = 25;
const CUT_BYTES = 20;

/** A client that goes through a pod's life cycle with one fault. */
export class Life {
  readonly calls = new Calls();
  readonly administrator: Administrator;
  readonly waits: Promise<Waited>[] = [];
  readonly waited: Waited[] = [];
  /** The containers for which Create has succeeded. */
  readonly created: string[] = [];
  fired: Fired | undefined;
  readonly id: string;
  readonly #lane: Lane;
  readonly #case: FaultCase;
  #over = false;
  #helped: Promise<void> = Promise.resolve();

  constructor(lane: Lane, fault: FaultCase, id: string) {
    this.#lane = lane;
    this.#case = fault;
    this.id = id;
    this.administrator = new Administrator(lane, this.calls);
  }

  get pod() {
    return { namespace: this.#lane.namespace, id: this.id };
  }

  /** Runs until the end or until a call fails. */
  async live(): Promise<void> {
    const { shape, at, component, how, nth, broken } = this.#case;
    const term = how === "error" ? "error(ENOSPC: no space left on device)" : `${how}(${component})`;
    const terms = `${nth > 1 ? `${nth - 1}*off->` : ""}1*${term}`;
    await this.#lane.installation.arm(this.pod, {
      points: {
        ...(at !== "now" && { [at]: terms }),
        ...(broken === "delete" && { "run:cleanup": "100*panic(the cleanup is broken)" }),
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
      await this.#now("created", container);
      await this.#start(container);
      await this.#now("running", container);
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

  async #create(id: string, kind: "sandbox" | "container" | undefined): Promise<void> {
    const { at, base, component } = this.#case;
    const rootfs = await this.administrator.record({
      ...{ id, args: ["sleep", "100000"] },
      configPath: this.#lane.config(at === "run:protocol" ? "asking" : base),
      edit: (spec) => {
        if (component === "guest") spec.linux.readonlyPaths = [];
        if (kind === undefined) return;
        spec.annotations = {
          "io.kubernetes.cri.container-type": kind,
          "io.kubernetes.cri.sandbox-id": this.id,
        };
      },
    });
    const { tasks } = this.#lane.client;
    await this.calls.make("create", `create ${id}`, (options) =>
      tasks.create({ containerId: id, rootfs }, options),
    );
    this.created.push(id);
    this.waits.push(this.#wait(id));
  }

  async #start(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    await this.calls.make("run", `start ${id}`, (options) =>
      tasks.start({ containerId: id, execId: "" }, options),
    );
  }

  async #exec(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId: id, execId: "e1" };
    const process = { args: ["sleep", "100000"], cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
    await this.calls.make("exec", `exec in ${id}`, (options) =>
      tasks.exec({ ...ref, spec: ociAny("Process", process) }, options),
    );
    await this.calls.make("exec", `start exec in ${id}`, (options) => tasks.start(ref, options));
  }

  /** Makes the guest's kernel panic through a privileged container (sysrq). */
  async #panic(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId: id, execId: "panic" };
    const args = ["sh", "-c", "echo c >/proc/sysrq-trigger"];
    const process = { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
    await tasks.exec({ ...ref, spec: ociAny("Process", process) });
    await this.calls.attempt("exec", "start of the exec that panics", (options) => tasks.start(ref, options));
  }

  async #end(id: string): Promise<void> {
    const { tasks } = this.#lane.client;
    const ref = { containerId: id, execId: "" };
    await this.calls.make("kill", `kill ${id}`, (options) =>
      tasks.kill({ ...ref, signal: SIGKILL, all: true }, options),
    );
    await this.calls.make("kill", `wait for ${id}`, (options) => tasks.wait(ref, options));
    await this.calls.make("delete", `delete ${id}`, (options) => tasks.delete({ containerId: id }, options));
  }

  /** Injects the fault of a case between two calls. */
  async #now(step: Step, container: string): Promise<void> {
    const { at, component, how } = this.#case;
    if (at !== "now" || this.#case.step !== step) return;
    const pids = await this.#pidsOf(component);
    this.fired = { at: Date.now(), point: at, action: `${how}(${component})`, pids };
    if (component === "guest") await this.#panic(container);
    else for (const pid of pids) process.kill(pid, how === "kill" ? "SIGKILL" : "SIGSTOP");
    this.#helped = this.#help(this.fired);
    await this.#helped;
    // An idle client must get the exit, too.
    if (how === "kill" && component !== "pod-localhost" && component !== "containerd")
      await within(Promise.all(this.waits));
  }

  async #pidsOf(component: string): Promise<number[]> {
    if (component === "containerd") return [await this.#lane.containerdPid()];
    const found = await podProcesses(this.#lane.namespace, this.id);
    if (component === "guest") return found.get("qemu") ?? [];
    const [parent, ...children] = found.get(component === "virtiofsd-worker" ? "virtiofsd" : component) ?? [];
    if (component === "virtiofsd-worker") return children;
    return parent === undefined ? [] : [parent];
  }

  /** Notices the fault as soon as it happens, and does what is needed for the test to continue. */
  async #follow(): Promise<void> {
    if (this.#case.at === "now") return;
    for (;;) {
      // Check once more after the end: the last call may have triggered it.
      const last = this.#over;
      [this.fired] = await this.#lane.installation.fired(this.pod);
      if (this.fired) {
        this.#helped = this.#help(this.fired);
        return;
      }
      if (last) return;
      await pause(CHECK_MS);
    }
  }

  async #help({ pids }: Fired): Promise<void> {
    const { component, how } = this.#case;
    if (how === "kill") {
      if (component === "containerd") await this.#lane.restart();
      return;
    }
    if (how !== "stop") return;
    await pause(PATIENCE_MS);
    if (component === "containerd") for (const pid of pids) process.kill(pid, "SIGCONT");
    // Only an administrator kills a shim that hangs; containerd does not check them.
    else if (component === "shim") {
      if (this.#case.broken === "ledger") await this.#cutLedger();
      for (const pid of pids) process.kill(pid, "SIGKILL");
    } else if (component !== "pod-localhost") {
      this.calls.disconnect();
    }
  }

  /** Truncates the ledger, which no process writes while its shim is stopped. */
  async #cutLedger(): Promise<void> {
    const ledger = join("/run/hull", this.#lane.namespace, this.id, "state.json");
    await truncate(ledger, (await stat(ledger)).size - CUT_BYTES);
  }

  async #wait(id: string): Promise<Waited> {
    const { tasks } = this.#lane.client;
    const answer = await tasks.wait({ containerId: id, execId: "" }, { timeoutMs: 10 * FAR_MS }).then(
      ({ exitStatus }) => ({ status: exitStatus, code: "OK" }),
      (error: unknown) => ({ status: undefined, code: statusName(error) }),
    );
    const waited = { id, ...answer, at: Date.now() };
    this.waited.push(waited);
    return waited;
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for something that must happen, with a very long timeout. */
async function within(promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FAR_MS / 2);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
