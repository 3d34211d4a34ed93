import { HOST_CID } from "../../../guest-agent/src/transport/host-cid.ts";
import { deferred } from "../../../src/core/deferred.ts";
import { HOST_PORT } from "../../../src/core/guest-ports.ts";
import { FrameType, HEADER_LENGTH, writeHeader } from "../../../src/ttrpc/frame.ts";
import type { Make, Setting } from "./evil.ts";

/** How long a flood lasts, by the guest's clock: the host has to be well during it, and again after it. */
const FLOOD_MS = 1_000;
const CHUNK = new Uint8Array(64 << 10).fill(0x78);
const CONSOLE = new TextEncoder().encode("\x1b[2J\x1b]0;owned\x07\x9b\0\xff no line end ".repeat(100));
/** sys.random gives no more. */
const RANDOM_BYTES = 256;
const CONNECTIONS = 3_000;
/** The first container of the suite, in a VM of its own. */
const WELL_POD = "p1";
/** Of a stream that was never opened: the host's have odd numbers, and begin with 1. */
const NOBODYS = 0x7fff_fffe;
const HELLO_STREAM = 1;

/** What the agent sends although nobody asked. */
export const FLOODS: Readonly<Record<string, Make>> = {
  "sends-garbage": ({ evil, sys }) => ({
    begin: () => void flood(sys, () => evil.send(sys.random(RANDOM_BYTES))),
  }),
  /** The header of a frame of 2 GiB. */
  "announces-2-gib": ({ evil }) => ({ begin: () => void evil.send(frame(0x7fff_ffff, HELLO_STREAM, 0)) }),
  /** Begins the largest frame there may be, and never ends it. */
  "half-a-frame": ({ evil }) => ({ begin: () => void evil.send(frame(4 << 20, HELLO_STREAM, 1)) }),
  "answers-nobody": ({ evil }) => ({ begin: () => void evil.send(frame(0, NOBODYS, 0)) }),
  /** Again and again the answer, of so many bytes, to a call that is over. */
  "answers-again": ({ evil, sys, argument }) => {
    const answer = frame(Number(argument), HELLO_STREAM, Number(argument));
    return { begin: () => void flood(sys, () => evil.send(answer)) };
  },
  /** What cannot be decoded, in the place of each answer, from the first question for statistics on. */
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
  /** OOM kills of its own container, and of others. */
  "tells-ooms": ({ sys, argument }) => {
    const begun = deferred<void>();
    const others = ["\x1b[2J", "x".repeat(Number(argument)), WELL_POD];
    return {
      begin: () => begun.resolve(),
      events: async function* (containerId) {
        await begun.promise; // the host does not listen to a container that it does not have yet
        for (const end = sys.monotonicMs() + FLOOD_MS; sys.monotonicMs() < end; ) {
          for (const id of [containerId, ...others]) {
            yield { event: { $case: "oom", value: { containerId: id, oomKillCount: 1n } } };
          }
        }
      },
    };
  },
  "fills-console": ({ evil, sys }) => ({
    begin: () =>
      void flood(sys, () => {
        sys.write(2, CONSOLE, 0, CONSOLE.length);
        return evil.pause(0);
      }),
  }),
  /** Sends on every stream without end, also on stdin. */
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
  "takes-no-streams": () => ({ stream: () => undefined }),
  /** Connections to the host, to the port that it listened on and to others, never used and never closed. */
  "dials-the-host": ({ evil, sys }) => ({ begin: () => void dial(sys, (ms) => evil.pause(ms)) }),
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
      // The guest's kernel has no room for more: the host has seen the others.
    }
    if (count % 50 === 0) await pause(1);
  }
}

/** An answer's header that says `length`, and the first `present` bytes of what should follow. */
function frame(length: number, stream: number, present: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH + present);
  writeHeader(bytes, length, stream, FrameType.Response, 0);
  return bytes;
}
