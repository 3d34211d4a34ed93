import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { AgentConnection } from "../../../src/agent/agent-connection.ts";
import { BoundedAgent } from "../../../src/agent/bounded-agent.ts";
import { Deadline } from "../../../src/core/deadline.ts";
import { type ErrorCode, HullError } from "../../../src/core/errors.ts";
import { PendingCalls } from "../../../src/core/pending-calls.ts";
import { printable } from "../../../src/core/printable.ts";
import { AgentDefinition } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { HEADER_LENGTH } from "../../../src/ttrpc/frame.ts";
import { socketTransport } from "../../../src/ttrpc/node/socket-transport.ts";
import { Server } from "../../../src/ttrpc/server.ts";
import { type Duplex, duplexPair } from "../../testkit/duplex-pair.ts";
import type { Target } from "../engine/target.ts";

const NAMES_LIMIT = 128;
const STATS_LIMIT = 1 << 20;
/** Maximum length of an error: the guest's message, and the host's text around it. */
const TEXT_LIMIT = 4096 + 200;
/** Turns of the event loop within which an answer reaches its waiter. */
const TURNS = 8;

const ref = { containerId: "c1", execId: "" };
const none = Deadline.none();
const spec = { containerId: "c1", spec: {}, stdio: { terminal: false } };
const signal = { signal: 9, all: false, escalation: "never" } as const;

/** The sequential calls to a guest, and the codes that are acceptable for an error besides Unknown. */
const CALLS: readonly [string, (agent: BoundedAgent) => Promise<unknown>, readonly ErrorCode[]][] = [
  ["create", (agent) => agent.createContainer(spec, none), ["NotFound", "InvalidArgument"]],
  ["start", (agent) => agent.start(ref, none), ["NotFound", "InvalidArgument"]],
  ["stats", statsOf, []],
  ["signal", (agent) => agent.signal(ref, signal, none), ["NotFound", "InvalidArgument"]],
  ["wait", exitOf, []],
  ["delete", (agent) => agent.delete(ref, none), []],
  ["shutdown", (agent) => agent.shutdown(none), []],
];
const FOR_ANY: readonly ErrorCode[] = [
  ...(["Unknown", "Unavailable", "DataLoss", "FailedPrecondition", "ResourceExhausted"] as const),
];

async function statsOf(agent: BoundedAgent): Promise<void> {
  const { cgroupFiles, netDev } = await agent.stats("c1", none);
  const texts = [netDev, ...Object.entries(cgroupFiles).flat()];
  for (const text of texts) assert.equal(printable(text), text);
  assert.ok(texts.join("").length <= STATS_LIMIT);
}

async function exitOf(agent: BoundedAgent): Promise<void> {
  const begin = Date.now();
  const { status, at } = await agent.wait(ref);
  assert.ok(Number.isInteger(status) && status >= 0 && status <= 255, `status ${status}`);
  assert.ok(at.getTime() >= begin && at.getTime() <= Date.now(), `ended at ${at}`);
}

/** A guest that answers calls with the frames of its list, whatever they are, and then disconnects. */
class ScriptedGuest {
  readonly #host: Duplex;
  readonly #end: Duplex;
  readonly #frames: Buffer[];

  constructor(host: Duplex, end: Duplex, script: Buffer) {
    this.#host = host;
    this.#end = end;
    this.#frames = framesOf(script);
    end.resume();
  }

  /** Sends frames until `call` settles, then closes the connection. */
  async serve<T>(call: Promise<T>): Promise<T> {
    let over = false;
    const ended = () => {
      over = true;
    };
    call.then(ended, ended);
    for (let hungUp = false; !over; ) {
      const frame = this.#frames.shift();
      if (frame) this.#end.write(frame);
      else if (!hungUp)
        this.#host.destroy(); // as the kernel resets it
      else assert.fail("a call outlives its connection");
      hungUp = !frame;
      for (let turn = 0; turn < TURNS && !over; turn++) await new Promise(setImmediate);
    }
    return await call;
  }
}

/** Splits the script at the frames' declared ends; the rest is the last piece. */
function framesOf(script: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < script.length; ) {
    const length = script.length - at < HEADER_LENGTH ? 0 : script.readUInt32BE(at);
    frames.push(script.subarray(at, at + HEADER_LENGTH + length));
    at += HEADER_LENGTH + length;
  }
  return frames;
}

function assertRefused(thrown: unknown, codes: readonly ErrorCode[], name: string): void {
  if (!(thrown instanceof HullError)) throw thrown;
  assert.ok([...FOR_ANY, ...codes].includes(thrown.code), `${name} failed as ${thrown.code}`);
  assert.equal(printable(thrown.message), thrown.message);
  assert.ok(thrown.message.length <= TEXT_LIMIT, `${name} failed with ${thrown.message.length} characters`);
}

/** Gives a stream in memory the methods of a socket that the shim uses. */
function asSocket(end: Duplex): Socket {
  const destroySoon = () => end.end(() => end.destroy());
  return Object.assign(end, { setNoDelay: () => undefined, destroySoon }) as unknown as Socket;
}

/** Returns a connecting agent as the shim has it, and both ends of its connection. */
function asked(): { connecting: Promise<BoundedAgent>; host: Duplex; guest: Duplex } {
  const [host, guest] = duplexPair();
  const socket = asSocket(host);
  const dial = () => Promise.reject(new HullError("Unavailable", "there are no streams"));
  const connecting = BoundedAgent.connect(AgentConnection.connect(socket, dial, none), {
    requestTimeout: 60_000,
    warn: (message) => assert.equal(printable(message), message),
    calls: new PendingCalls(),
  });
  return { connecting, host, guest };
}

/** Resolves with a guest's answers to all calls if its container exits with this status. */
async function answers(exitStatus: number): Promise<Buffer> {
  const { connecting, guest } = asked();
  const written: Buffer[] = [];
  const server = new Server();
  const exit = {
    exitStatus,
    exitedAtUnixNano: 1n << 60n,
    oomKilled: true,
    stdoutBytes: 9n,
    stderrBytes: 0n,
  };
  server.register(AgentDefinition, {
    hello: () => ({
      ...{ protocolMajor: 2, protocolMinor: 0, agentVersion: "1", kernelRelease: "6.1", features: ["psi"] },
    }),
    events: async function* () {
      yield { event: { $case: "oom", value: { containerId: "c1", oomKillCount: 1n } } };
    },
    createContainer: () => ({ pid: 7 }),
    startProcess: () => Promise.reject(new HullError("NotFound", "no such program")),
    statsContainer: () => ({ cgroupFiles: { "pids.current": "1\n" }, netDev: "eth0: 1 2\n" }),
    waitProcess: () => exit,
    ...{ signalProcess: () => ({}), deleteProcess: () => ({}), shutdown: () => ({}) },
  });
  const transport = socketTransport(asSocket(guest));
  const { write } = transport;
  transport.write = (bytes) => {
    written.push(Buffer.from(bytes));
    return write(bytes);
  };
  server.serve(transport);
  const agent = await connecting;
  agent.onOom(() => undefined);
  for (const [, call] of CALLS) await call(agent).catch(() => undefined);
  agent.close();
  return Buffer.concat(written);
}

/** The answers of a guest's agent, one per call: the pod believes what `BoundedAgent` makes of them. */
export async function agentAnswers(): Promise<Target> {
  return {
    name: "agent-answers",
    seeds: await Promise.all([3, 300].map(answers)),
    tokens: ["\x1b[2J", "\x9b", "\u202e", "\xff\xff\xff\xff"],
    async run(input) {
      const { connecting, host, guest } = asked();
      const script = new ScriptedGuest(host, guest, input);
      let accepted = false;
      let agent: BoundedAgent;
      try {
        agent = await script.serve(connecting);
      } catch (thrown) {
        assertRefused(thrown, [], "hello");
        guest.destroy();
        return false;
      }
      for (const text of [agent.version, agent.kernelRelease]) {
        assert.equal(printable(text, NAMES_LIMIT), text);
      }
      agent.onOom((id) => assert.equal(printable(id, NAMES_LIMIT), id));
      for (const [name, call, codes] of CALLS) {
        try {
          await script.serve(call(agent));
          accepted = true;
        } catch (thrown) {
          assertRefused(thrown, codes, name);
        }
      }
      agent.close();
      guest.destroy();
      await agent.lost;
      return accepted;
    },
  };
}
