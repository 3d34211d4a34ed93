import type { Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError } from "../core/errors.ts";
import type { PendingCalls } from "../core/pending-calls.ts";
import { printable } from "../core/printable.ts";
import type { NetworkSettings } from "../network/network-settings.ts";
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
} from "./guest-agent.ts";
import { type GuestCall, guestFailure } from "./guest-failure.ts";

interface AgentBounds {
  /** The timeout in milliseconds of a call whose deadline has none (`agent.request_timeout`). */
  readonly requestTimeout: number;
  warn(message: string): void;
  /** Where the calls under way are noted. */
  readonly calls: PendingCalls;
}

/** Characters of the version and the kernel release. */
const MAX_NAME = 128;
/** Characters of all statistics of one container, including the names. */
const MAX_STATS = 1 << 20;
/** A timer cannot hold more milliseconds: a longer timeout counts as none (see `Deadline`). */
const NO_LIMIT = 2 ** 31;
const MAX_STATUS = 255;

/**
 * The trust boundary between guest and host: every call but `wait` has a timeout, errors have a class that
 * the call can have, texts are printable and short, numbers are in range. When a guest violates the protocol,
 * the violation is logged, `lost` resolves and the connection is closed.
 */
export class BoundedAgent implements GuestAgent {
  readonly lost: Promise<Error>;
  readonly #agent: GuestAgent;
  readonly #bounds: AgentBounds;
  readonly #broken = deferred<Error>();
  /** We closed the connection; failures that follow from it are reported elsewhere. */
  #closed = false;

  constructor(agent: GuestAgent, bounds: AgentBounds) {
    this.#agent = agent;
    this.#bounds = bounds;
    this.lost = Promise.race([this.#broken.promise, agent.lost]);
  }

  /** Bounds the agent that `connecting` resolves to, and the error if it rejects. */
  static async connect(connecting: Promise<GuestAgent>, bounds: AgentBounds): Promise<BoundedAgent> {
    try {
      return new BoundedAgent(await connecting, bounds);
    } catch (error) {
      throw guestFailure("hello", error);
    }
  }

  get version(): string {
    return printable(this.#agent.version, MAX_NAME);
  }

  get kernelRelease(): string {
    return printable(this.#agent.kernelRelease, MAX_NAME);
  }

  ping(deadline: Deadline): Promise<void> {
    return this.#call("ping", "", deadline, (limit) => this.#agent.ping(limit));
  }

  startSandbox(settings: SandboxSettings, deadline: Deadline): Promise<void> {
    return this.#call("startSandbox", "", deadline, (limit) => this.#agent.startSandbox(settings, limit));
  }

  updateNetwork(network: NetworkSettings, deadline: Deadline): Promise<void> {
    return this.#call("updateNetwork", "", deadline, (limit) => this.#agent.updateNetwork(network, limit));
  }

  onlineResources(size: GuestSize, deadline: Deadline): Promise<void> {
    return this.#call("onlineResources", "", deadline, (limit) => this.#agent.onlineResources(size, limit));
  }

  createContainer(request: CreateContainer, deadline: Deadline): Promise<void> {
    return this.#call("createContainer", request.containerId, deadline, (limit) =>
      this.#agent.createContainer(request, limit),
    );
  }

  createExec(request: CreateExec, deadline: Deadline): Promise<void> {
    return this.#call("createExec", nameOf(request), deadline, (limit) =>
      this.#agent.createExec(request, limit),
    );
  }

  start(process: ProcessRef, deadline: Deadline): Promise<void> {
    return this.#call("start", nameOf(process), deadline, (limit) => this.#agent.start(process, limit));
  }

  /** A failure is logged once per process; containerd gets it as an exit by SIGKILL. */
  async wait(process: ProcessRef): Promise<GuestExit> {
    const begun = new Date();
    const exit = await this.#waitFor(process);
    if (!Number.isInteger(exit.status) || exit.status < 0 || exit.status > MAX_STATUS) {
      throw this.#breach(`exit status ${exit.status} of ${nameOf(process)}`);
    }
    return { ...exit, at: within(exit.at, begun, new Date()) };
  }

  signal(process: ProcessRef, request: SignalRequest, deadline: Deadline): Promise<void> {
    return this.#call("signal", nameOf(process), deadline, (limit) =>
      this.#agent.signal(process, request, limit),
    );
  }

  resize(process: ProcessRef, size: TerminalSize, deadline: Deadline): Promise<void> {
    return this.#call("resize", nameOf(process), deadline, (limit) =>
      this.#agent.resize(process, size, limit),
    );
  }

  /**
   * A process that the guest does not have counts as deleted: an earlier Delete may have exceeded its
   * deadline.
   */
  delete(process: ProcessRef, deadline: Deadline): Promise<void> {
    return this.#call("delete", nameOf(process), deadline, (limit) =>
      this.#agent.delete(process, limit).catch((error: unknown) => {
        if (!(error instanceof HullError && error.code === "NotFound")) throw error;
      }),
    );
  }

  pause(containerId: string, deadline: Deadline): Promise<void> {
    return this.#call("pause", containerId, deadline, (limit) => this.#agent.pause(containerId, limit));
  }

  resume(containerId: string, deadline: Deadline): Promise<void> {
    return this.#call("resume", containerId, deadline, (limit) => this.#agent.resume(containerId, limit));
  }

  update(containerId: string, resources: object, deadline: Deadline): Promise<void> {
    return this.#call("update", containerId, deadline, (limit) =>
      this.#agent.update(containerId, resources, limit),
    );
  }

  async stats(containerId: string, deadline: Deadline): Promise<GuestStats> {
    const { cgroupFiles, netDev } = await this.#call("stats", containerId, deadline, (limit) =>
      this.#agent.stats(containerId, limit),
    );
    const files = Object.entries(cgroupFiles);
    const length = files.reduce((sum, [name, text]) => sum + name.length + text.length, netDev.length);
    if (length > MAX_STATS) throw this.#breach(`statistics of ${containerId} of ${length} characters`);
    return {
      cgroupFiles: Object.fromEntries(files.map(([name, text]) => [printable(name), printable(text)])),
      netDev: printable(netDev),
    };
  }

  openStream(token: string, deadline: Deadline): Promise<Socket> {
    return this.#call("openStream", "", deadline, async (limit) => {
      const socket = await this.#agent.openStream(token, limit);
      if (limit.reason) socket.destroy(); // too late: nobody awaits it any more
      return socket;
    });
  }

  onOom(listener: (containerId: string) => void): void {
    this.#agent.onOom((containerId) => listener(printable(containerId, MAX_NAME)));
  }

  shutdown(deadline: Deadline): Promise<void> {
    return this.#call("shutdown", "", deadline, (limit) => this.#agent.shutdown(limit));
  }

  close(): void {
    this.#closed = true;
    this.#agent.close();
  }

  async #waitFor(process: ProcessRef): Promise<GuestExit> {
    const done = this.#bounds.calls.begin(`agent: wait ${nameOf(process)}`);
    try {
      return await this.#agent.wait(process);
    } catch (error) {
      const failure = guestFailure("wait", error);
      if (!this.#closed)
        this.#bounds.warn(`${nameOf(process)}: its exit status is unknown: ${failure.message}`);
      throw failure;
    } finally {
      done();
    }
  }

  /** `subject`: what the call is about. The caller's deadline counts if it has a timeout. */
  async #call<T>(
    name: GuestCall,
    subject: string,
    caller: Deadline,
    run: (limit: Deadline) => Promise<T>,
  ): Promise<T> {
    const done = this.#bounds.calls.begin(`agent: ${name} ${subject}`.trimEnd());
    const limit =
      caller.remainingMs < NO_LIMIT
        ? caller
        : caller.shorter(this.#bounds.requestTimeout, `the guest agent's ${name} (agent.request_timeout)`);
    try {
      return await limit.race(run(limit));
    } catch (error) {
      throw guestFailure(name, error);
    } finally {
      done();
      if (limit !== caller) limit.dispose();
    }
  }

  /** Disconnects the guest. Returns the error for the call that found the violation. */
  #breach(what: string): HullError {
    const error = new HullError(
      "DataLoss",
      `the guest agent violated the protocol: ${printable(what, MAX_NAME)}`,
    );
    this.#bounds.warn(`${error.message}; ending the pod`);
    this.#broken.resolve(error);
    this.close();
    return error;
  }
}

function nameOf({ containerId, execId }: ProcessRef): string {
  return execId === "" ? `container ${containerId}` : `exec ${execId} of container ${containerId}`;
}

/** Keeps a guest's wrong clock out of the host's records. */
function within(at: Date, from: Date, to: Date): Date {
  if (Number.isNaN(at.getTime()) || at > to) return to;
  return at < from ? from : at;
}
