import { randomBytes } from "node:crypto";
import {
  AgentDefinition,
  type StartSandboxRequest,
  type Stdio,
} from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { type Client, ClientConnection, createClient } from "../../../src/ttrpc/client.ts";
import type { Transport } from "../../../src/ttrpc/transport.ts";
import type { OpenFile } from "./fake-file.ts";
import type { FakeGuest } from "./fake-guest.ts";

/** The host's end of a connection to a fake guest, as a transport. `pump` polls it after each turn. */
class FileTransport implements Transport {
  #data: (bytes: Uint8Array) => void = () => undefined;
  #close: (error?: Error) => void = () => undefined;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(
    readonly guest: FakeGuest,
    readonly file: OpenFile,
  ) {
    this.#timer = setInterval(() => {
      const bytes = guest.fake.received(file);
      if (bytes.length > 0) this.#data(bytes);
    }, 0);
  }
  write(bytes: Uint8Array): boolean {
    this.guest.fake.send(this.file, bytes);
    return true;
  }
  onData(listener: (bytes: Uint8Array) => void): void {
    this.#data = listener;
  }
  onDrain(): void {
    // `send` always accepts everything.
  }
  onClose(listener: (error?: Error) => void): void {
    this.#close = listener;
  }
  close(): void {
    clearInterval(this.#timer);
    this.guest.fake.hangUp(this.file);
    this.#close();
  }
}

/** A StartSandbox request that changes as little as possible in the VM. */
export const SANDBOX: StartSandboxRequest = {
  hostname: "",
  timeUnixNano: 0n,
  entropy: new Uint8Array(32),
  shares: [],
  sysctls: {},
  interfaces: [],
  routes: [],
  neighbours: [],
  shmSize: 0n,
  maxShareFiles: 0,
  forwardToken: "",
};

/** Connects a client to the agent in `guest`, with the real wire format; close it with `close`. */
export function connectAgent(guest: FakeGuest): { agent: Client<typeof AgentDefinition>; close: () => void } {
  const connection = new ClientConnection(new FileTransport(guest, guest.fake.dial(guest.listeners.agent)));
  return { agent: createClient(connection, AgentDefinition), close: () => connection.close() };
}

export const newToken = (): string => randomBytes(16).toString("hex");

export const NO_STDIO: Stdio = {
  terminal: false,
  stdinToken: "",
  stdoutToken: "",
  stderrToken: "",
  terminalWidth: 0,
  terminalHeight: 0,
};

/** Opens a stdio stream as the host does. */
export function openStream(guest: FakeGuest, token: string): OpenFile {
  const file = guest.fake.dial(guest.listeners.stdio);
  guest.fake.send(file, `${token}\n`);
  return file;
}

export function specOf(...args: string[]): Uint8Array {
  const spec = { ociVersion: "1.0.2", root: { path: "/run/hull/share/rootfs" }, process: { args, cwd: "/" } };
  return new TextEncoder().encode(JSON.stringify(spec));
}

export function processOf(...args: string[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ args, cwd: "/" }));
}
