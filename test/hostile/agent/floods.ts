import { HOST_CID } from "../../../guest-agent/src/transport/host-cid.ts";
import { deferred } from "../../../src/core/deferred.ts";
import { HOST_PORT } from "../../../src/core/guest-ports.ts";
import { FrameType, HEADER_LENGTH, writeHeader } from "../../../src/ttrpc/frame.ts";
import type { Make, Setting } from "./hostile-agent.ts";

/** How long a flood lasts, by the guest's clock: the host must work during and after it. */
const FLOOD_MS = 1_000;
const CHUNK = new Uint8Array(64 << 10).fill(0x78);
const CONSOLE = new TextEncoder().encode("\x1b[2J\x1b]0;owned\x07\x9b\0\xff no line end ".repeat(100));
/** The maximum of sys.random. */
const RANDOM_BYTES = 256;
const CONNECTIONS = 3_000;
/** The first container of the suite, in its own VM. */
const HONEST_POD = "p1";
/** The id of a stream that was never opened: the host's are odd and start with 1. */
const UNOPENED_STREAM = 0x7fff_fffe;
const HELLO_STREAM = 1;

/** Behaviours that send unsolicited data. */
export const FLOODS: Readonly<Record<string, Make>> = {
  "sends-garbage": ({ agent, sys }) => ({
    begin: () => void flood(sys, () => agent.send(sys.random(RANDOM_BYTES))),
  }),
  /** The header of a frame of 2 GiB. */
  "announces-2-gib": ({ agent }) => ({ begin: () => void agent.send(frame(0x7fff_ffff, HELLO_STREAM, 0)) }),
  /** Starts a frame of the maximum size and never finishes it. */
  "half-a-frame": ({ agent }) => ({ begin: () => void agent.send(frame(4 << 20, HELLO_STREAM, 1)) }),
  "answers-unopened-stream": ({ agent }) => ({ begin: () => void agent.send(frame(0, UNOPENED_STREAM, 0)) }),
  /** Repeats the answer, of this many bytes, to a finished call. */
  "answers-again": ({ agent, sys, argument }) => {
    const answer = frame(Number(argument), HELLO_STREAM, Number(argument));
    return { begin: () => void flood(sys, () => agent.send(answer)) };
  },
  /** Replaces each answer with undecodable bytes, from the first Stats call on. */
  "rubbish-answers": () => {
    let asked = false;
    return {
      answer: (call) => {
        asked ||= call.method === "statsContainer";
        return call.honest();
      },
      write: (bytes) =>
        asked ? bytes.map((byte, index) => (index < HEADER_LENGTH ? byte : byte ^ 0xff)) : bytes,
    };
  },
  /** Reports OOM kills of its own container, and of others. */
  "reports-ooms": ({ sys, argument }) => {
    const begun = deferred<void>();
    const others = ["\x1b[2J", "x".repeat(Number(argument)), HONEST_POD];
    return {
      begin: () => begun.resolve(),
      events: async function* (containerId) {
        await begun.promise; // the host ignores events of a container that it does not know yet
        for (const end = sys.monotonicMs() + FLOOD_MS; sys.monotonicMs() < end; ) {
          for (const id of [containerId, ...others]) {
            yield { event: { $case: "oom", value: { containerId: id, oomKillCount: 1n } } };
          }
        }
      },
    };
  },
  "fills-console": ({ agent, sys }) => ({
    begin: () =>
      void flood(sys, () => {
        sys.write(2, CONSOLE, 0, CONSOLE.length);
        return agent.pause(0);
      }),
  }),
  /** Sends endlessly on every stream, even stdin. */
  "fills-streams": ({ sys }) => ({
    stream: (connection) => {
      sys.watch(connection, { write: true }, () => {
        try {
          sys.write(connection, CHUNK, 0, CHUNK.length);
        } catch {
          sys.unwatch(connection); // the host has closed it
        }
      });
    },
  }),
  "closes-streams": ({ sys }) => ({ stream: (connection) => sys.close(connection) }),
  "ignores-streams": () => ({ stream: () => undefined }),
  /**
   * Connects to the host, to the port on which it listened and to others, without using or closing the
   * connections.
   */
  "dials-the-host": ({ agent, sys }) => ({ begin: () => void dial(sys, (ms) => agent.pause(ms)) }),
};

async function flood(sys: Pick<Setting["sys"], "monotonicMs">, step: () => Promise<void>): Promise<void> {
  for (const end = sys.monotonicMs() + FLOOD_MS; sys.monotonicMs() < end; ) await step();
}

async function dial(sys: Setting["sys"], pause: (ms: number) => Promise<void>): Promise<void> {
  for (let count = 0; count < CONNECTIONS; count++) {
    const port = count % 3 === 0 ? HOST_PORT : count;
    try {
      sys.vsockConnect(HOST_CID, port);
    } catch {
      // The guest's kernel is out of resources; the host has got the others.
    }
    if (count % 50 === 0) await pause(1);
  }
}

/** Returns an answer's header with `length`, and only the first `present` bytes of its content. */
function frame(length: number, stream: number, present: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH + present);
  writeHeader(bytes, length, stream, FrameType.Response, 0);
  return bytes;
}
