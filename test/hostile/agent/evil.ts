import { readText } from "../../../guest-agent/src/files.ts";
import type { Sys } from "../../../guest-agent/src/sys.ts";
import { AGENT_PORT } from "../../../src/core/guest-ports.ts";
import type { ServiceDefinition } from "../../../src/ttrpc/definition.ts";
import type { Handlers } from "../../../src/ttrpc/server.ts";
import type { CallContext } from "../../../src/ttrpc/server-route.ts";
import type { Transport } from "../../../src/ttrpc/transport.ts";

/** One call of the host. */
export interface Call {
  /** As in the agent's service, `createContainer` for example. */
  readonly method: string;
  readonly containerId: string;
  readonly execId: string;
  /** What the real agent does and answers. */
  honest(): unknown;
}

/** What an agent does from the moment on at which it is told to. What is left out is done as the real one does. */
interface Behaviour {
  /** In the place of the answer to a call. */
  answer?(call: Call): unknown;
  /** In the place of the real events. */
  events?(containerId: string): AsyncIterable<unknown>;
  /** Once, when the process that brought the behaviour has been started. */
  begin?(): void;
  /** Takes a new connection to the port of the streams; the real agent gets none of them then. */
  stream?(connection: number): void;
  /** In the place of the bytes that go to the host. */
  write?(bytes: Uint8Array): Uint8Array;
}

/** What a behaviour is made from. */
export interface Setting {
  readonly evil: Evil;
  readonly sys: Sys;
  /** Of the container that brought the behaviour. */
  readonly containerId: string;
  /** What stands behind the colon. */
  readonly argument: string;
}

export type Make = (setting: Setting) => Behaviour;

type Handler = (request: unknown, context: CallContext) => unknown;

/** By environment of a container or exec, or on the kernel's command line (for the calls before there is any). */
const ENVIRONMENT = /^HULL_EVIL=(.*)$/;
const COMMAND_LINE = /\bhull_evil=(\S+)/;

/**
 * The real agent until a container or exec comes with `HULL_EVIL=<behaviour>[:<argument>]` in its environment; from that
 * request on it behaves that way, until another tells otherwise.
 */
export class Evil {
  /** The system calls for the real agent. */
  readonly sys: Sys;
  readonly #real: Sys;
  #behaviour: Behaviour = {};
  /** Whose start it is that lets the behaviour begin. */
  #bringer: string | undefined;
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

  /** Called with the connection to the host, before the server has it. */
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

  /** Sends bytes to the host beside the server's. Resolves when there is room for more. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#transport?.write(bytes)) return await this.pause(0);
    await new Promise<void>((resolve) => this.#drained.add(resolve));
  }

  hangUp(): void {
    this.#transport?.close();
  }

  /** Milliseconds; lets the real agent work meanwhile. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#real.setTimer(ms, resolve));
  }

  async #called(method: string, request: Record<string, unknown>, honest: () => unknown): Promise<unknown> {
    const { containerId = "", execId = "" } = request as { containerId?: string; execId?: string };
    const chosen = chosenBy(request.spec ?? request.process);
    if (chosen !== undefined) this.#choose(chosen, `${containerId}/${execId}`, containerId);
    const begins = method === "startProcess" && this.#bringer === `${containerId}/${execId}`;
    const { begin, answer } = this.#behaviour;
    const answered = await (answer ? answer({ method, containerId, execId, honest }) : honest());
    // After the answer, so that the host knows the process as running.
    if (begins && begin) this.#real.setTimer(50, begin);
    return answered;
  }

  #choose(chosen: string, bringer: string, containerId: string): void {
    const [name = "", argument = ""] = chosen.split(":");
    const behaviour = this.behaviours[name];
    if (!behaviour) throw new Error(`there is no behaviour ${name}`);
    this.#behaviour = behaviour({ evil: this, sys: this.#real, containerId, argument });
    this.#bringer = bringer;
    for (const waiting of this.#changed) waiting();
    this.#changed.clear();
  }

  /** The host asks for them once, before it says how to behave. */
  async *#events(): AsyncIterable<unknown> {
    for (;;) {
      const { events } = this.#behaviour;
      if (events) yield* events((this.#bringer ?? "").split("/")[0] ?? "");
      await new Promise<void>((resolve) => this.#changed.add(resolve));
    }
  }

  #readCommandLine(): void {
    const [, chosen] = COMMAND_LINE.exec(readText(this.#real, "/proc/cmdline")) ?? [];
    if (chosen !== undefined) this.#choose(chosen, "", "");
  }
}

/** What the environment of a container's spec or an exec's process asks for. */
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
