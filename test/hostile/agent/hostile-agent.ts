import { readText } from "../../../guest-agent/src/files.ts";
import type { Sys } from "../../../guest-agent/src/sys.ts";
import { AGENT_PORT } from "../../../src/core/guest-ports.ts";
import type { ServiceDefinition } from "../../../src/ttrpc/definition.ts";
import type { Handlers } from "../../../src/ttrpc/server.ts";
import type { CallContext } from "../../../src/ttrpc/server-route.ts";
import type { Transport } from "../../../src/ttrpc/transport.ts";

/** A call of the host. */
export interface Call {
  /** The method's name in the agent's service, e.g. `createContainer`. */
  readonly method: string;
  readonly containerId: string;
  readonly execId: string;
  /** Runs the real agent's handler and returns its answer. */
  honest(): unknown;
}

/** What an agent does once it is switched on; by default the same as the real agent. */
interface Behaviour {
  /** Replaces the answer to a call. */
  answer?(call: Call): unknown;
  /** Replaces the events. */
  events?(containerId: string): AsyncIterable<unknown>;
  /** Called once, when the process that selected the behaviour has been started. */
  begin?(): void;
  /** Takes new connections to the stream port, instead of the real agent. */
  stream?(connection: number): void;
  /** Replaces the bytes sent to the host. */
  write?(bytes: Uint8Array): Uint8Array;
}

/** The input of a behaviour. */
export interface Setting {
  readonly agent: HostileAgent;
  readonly sys: Sys;
  /** The container that selected the behaviour. */
  readonly containerId: string;
  /** The text after the colon. */
  readonly argument: string;
}

export type Make = (setting: Setting) => Behaviour;

type Handler = (request: unknown, context: CallContext) => unknown;

/**
 * Selected in the environment of a container or exec, or on the kernel's command line (for earlier calls).
 */
const ENVIRONMENT = /^HULL_BEHAVIOUR=(.*)$/;
const COMMAND_LINE = /\bhull_behaviour=(\S+)/;

/**
 * Behaves as the real agent until a container or exec has `HULL_BEHAVIOUR=<behaviour>[:<argument>]` in its
 * environment; from that request on it has that behaviour, until another one is selected.
 */
export class HostileAgent {
  /** The system calls for the real agent. */
  readonly sys: Sys;
  readonly #real: Sys;
  #behaviour: Behaviour = {};
  /** The process whose start switches the behaviour on. */
  #origin: string | undefined;
  #transport: Transport | undefined;
  #streams: number | undefined;
  readonly #drained = new Set<() => void>();
  readonly #changed = new Set<() => void>();

  constructor(
    sys: Sys,
    readonly behaviours: Readonly<Record<string, Make>>,
  ) {
    this.#real = sys;
    this.sys = {
      ...sys,
      mount: (...args) => {
        sys.mount(...args);
        if (args[1] === "/proc") this.#readCommandLine();
      },
      vsockListen: (port, backlog) => {
        const fd = sys.vsockListen(port, backlog);
        if (port === AGENT_PORT.stdio) this.#streams = fd;
        return fd;
      },
      accept: (fd) => {
        const connection = sys.accept(fd);
        const { stream } = this.#behaviour;
        if (fd !== this.#streams || stream === undefined || connection < 0) return connection;
        stream(connection);
        return -1;
      },
    };
  }

  handlers(honest: Handlers<ServiceDefinition>): Handlers<ServiceDefinition> {
    const wrapped = Object.entries(honest).map(([method, handler]) => {
      const real = handler as Handler;
      if (method === "events") return [method, () => this.#events()];
      return [
        method,
        (request: unknown, context: CallContext) =>
          this.#called(method, request as Record<string, unknown>, () => real(request, context)),
      ];
    });
    return Object.fromEntries(wrapped) as Handlers<ServiceDefinition>;
  }

  /** Called with the connection to the host, before the server gets it. */
  connected(transport: Transport): void {
    this.#transport = transport;
    const { onDrain, write } = transport;
    transport.onDrain = (listener) =>
      onDrain.call(transport, () => {
        listener();
        for (const waiting of this.#drained) waiting();
        this.#drained.clear();
      });
    transport.write = (bytes) =>
      write.call(transport, this.#behaviour.write ? this.#behaviour.write(bytes) : bytes);
  }

  /** Sends bytes to the host, in addition to the server's. Resolves when more can be sent. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#transport?.write(bytes)) return await this.pause(0);
    await new Promise<void>((resolve) => this.#drained.add(resolve));
  }

  hangUp(): void {
    this.#transport?.close();
  }

  /** Waits for this many milliseconds, while the real agent continues. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#real.setTimer(ms, resolve));
  }

  async #called(method: string, request: Record<string, unknown>, honest: () => unknown): Promise<unknown> {
    const { containerId = "", execId = "" } = request as { containerId?: string; execId?: string };
    const chosen = chosenBy(request.spec ?? request.process);
    if (chosen !== undefined) this.#choose(chosen, `${containerId}/${execId}`, containerId);
    const begins = method === "startProcess" && this.#origin === `${containerId}/${execId}`;
    const { begin, answer } = this.#behaviour;
    const answered = await (answer ? answer({ method, containerId, execId, honest }) : honest());
    // After the answer, so that the host knows the process as running.
    if (begins && begin) this.#real.setTimer(50, begin);
    return answered;
  }

  #choose(chosen: string, origin: string, containerId: string): void {
    const [name = "", argument = ""] = chosen.split(":");
    const behaviour = this.behaviours[name];
    if (!behaviour) throw new Error(`there is no behaviour ${name}`);
    this.#behaviour = behaviour({ agent: this, sys: this.#real, containerId, argument });
    this.#origin = origin;
    for (const waiting of this.#changed) waiting();
    this.#changed.clear();
  }

  /** The host subscribes once, before it selects a behaviour. */
  async *#events(): AsyncIterable<unknown> {
    for (;;) {
      const { events } = this.#behaviour;
      if (events) yield* events((this.#origin ?? "").split("/")[0] ?? "");
      await new Promise<void>((resolve) => this.#changed.add(resolve));
    }
  }

  #readCommandLine(): void {
    const [, chosen] = COMMAND_LINE.exec(readText(this.#real, "/proc/cmdline")) ?? [];
    if (chosen !== undefined) this.#choose(chosen, "", "");
  }
}

/** Returns the behaviour that a container's spec or an exec's process selects in its environment. */
function chosenBy(json: unknown): string | undefined {
  if (!(json instanceof Uint8Array)) return undefined;
  const parsed = JSON.parse(new TextDecoder().decode(json)) as {
    env?: string[];
    process?: { env?: string[] };
  };
  for (const entry of (parsed.process ?? parsed).env ?? []) {
    const [, chosen] = ENVIRONMENT.exec(entry) ?? [];
    if (chosen !== undefined) return chosen;
  }
  return undefined;
}
