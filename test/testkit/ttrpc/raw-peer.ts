import { setImmediate as turn } from "node:timers/promises";
import type { Deadline } from "../../../src/core/deadline.ts";
import { KeyValue, Request } from "../../../src/proto/generated/ttrpc/ttrpc.ts";
import { decodeResponse } from "../../../src/ttrpc/envelope.ts";
import { FrameDecoder, FrameType, HEADER_LENGTH, writeHeader } from "../../../src/ttrpc/frame.ts";
import type { Transport } from "../../../src/ttrpc/transport.ts";
import { messageOf } from "../message.ts";
import { hex } from "./hex.ts";

/** An end of a connection that sends arbitrary frames and records the answers in readable form. */
export class RawPeer {
  /** E.g. `3 response 5 no such thing`, `3 response 0 <payload hex>`, `3 data flags=5 <payload hex>`. */
  readonly answers: string[] = [];
  readonly #transport: Transport;
  #arrived: () => void = () => undefined;

  constructor(transport: Transport) {
    this.#transport = transport;
    const decoder = new FrameDecoder({
      frame: (id, type, flags, payload) => {
        this.answers.push(describe(id, type, flags, payload));
        this.#arrived();
      },
      oversize: (id) => this.answers.push(`${id} oversize`),
    });
    transport.onData((bytes) => decoder.push(bytes));
  }

  frame(id: number, type: number, flags: number, payload: Uint8Array = new Uint8Array()): void {
    const bytes = new Uint8Array(HEADER_LENGTH + payload.length);
    writeHeader(bytes, payload.length, id, type, flags);
    bytes.set(payload, HEADER_LENGTH);
    this.#transport.write(bytes);
  }

  bytes(bytes: Uint8Array): void {
    this.#transport.write(bytes);
  }

  request(
    id: number,
    method: string,
    message?: Partial<KeyValue>,
    flags = 0,
    service = "hull.test.Echo",
  ): void {
    const payload = message ? KeyValue.encode(messageOf(KeyValue, message)).finish() : new Uint8Array();
    const request = messageOf(Request, { service, method, payload });
    this.frame(id, FrameType.Request, flags, Request.encode(request).finish());
  }

  data(id: number, message: Partial<KeyValue>, flags = 0): void {
    this.frame(id, FrameType.Data, flags, KeyValue.encode(messageOf(KeyValue, message)).finish());
  }

  /** Waits for the next `count` answers and returns them sorted: for a peer in another process. */
  async expect(count: number, deadline: Deadline): Promise<string[]> {
    while (this.answers.length < count) {
      await deadline.race(
        new Promise<void>((resolve) => {
          this.#arrived = resolve;
        }),
      );
    }
    return this.answers.splice(0, count).sort();
  }

  /** Resolves with the answers so far, after everything in flight has arrived. */
  async settle(): Promise<string[]> {
    for (let i = 0; i < 10; i++) await turn();
    return this.answers.splice(0);
  }
}

function describe(id: number, type: number, flags: number, payload: Uint8Array): string {
  if (type === FrameType.Data) return `${id} data flags=${flags} ${hex(payload)}`.trim();
  if (type !== FrameType.Response) return `${id} type=${type}`;
  const { code, message, payload: inner } = decodeResponse(payload);
  return `${id} response ${code} ${code === 0 ? hex(inner) : message}`.trim();
}
