import { request } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { constants, deflateRawSync } from "node:zlib";

/** Control frames (SPDY/3.1, section 2.6); each contains the version. */
const VERSION = 3;
const SYN_STREAM = 1;
const RST_STREAM = 3;
const PING = 6;
const CONTROL = 0x80000000;
/** A status code of RST_STREAM. */
const CANCEL = 5;
const FLAG_FIN = 1;
/** A frame starts with eight bytes; the last three are the length of the rest. */
const HEAD_BYTES = 8;
/** The start of zlib data without a preset dictionary (RFC 1950). */
const ZLIB_HEAD = Buffer.from([0x78, 0x01]);

/**
 * A client of SPDY/3.1 as Kubernetes uses it between kubelet and runtime: the client opens all streams, and
 * there is no flow control (github.com/moby/spdystream). Of the streaming protocols, only SPDY can signal the
 * end of a single stream.
 */
export class SpdyConnection {
  readonly #socket: Socket;
  readonly #streams = new Map<number, SpdyStream>();
  #nextId = 1;
  #unread: Buffer;
  #failure: string | undefined;

  private constructor(socket: Socket, head: Buffer) {
    this.#socket = socket;
    this.#unread = head;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => {
      this.#failure = error.message;
    });
    socket.on("close", () => this.#end());
    this.#read(Buffer.alloc(0));
  }

  /** Connects to a URL returned by CRI. `protocol`: the streaming protocol, e.g. `v4.channel.k8s.io`. */
  static async connect(url: string, protocol: string): Promise<SpdyConnection> {
    return await new Promise((resolve, reject) => {
      const headers = {
        Connection: "Upgrade",
        Upgrade: "SPDY/3.1",
        "X-Stream-Protocol-Version": protocol,
      };
      const asked = request(url, { method: "POST", headers });
      asked.on("upgrade", ({ headers }, socket, head) => {
        const spoken = headers["x-stream-protocol-version"];
        if (spoken === protocol) return resolve(new SpdyConnection(socket as Socket, head));
        socket.destroy();
        reject(new Error(`${url}: the server speaks ${spoken}, not ${protocol}`));
      });
      asked.on("response", ({ statusCode }) => reject(new Error(`${url}: status ${statusCode}`)));
      asked.on("error", reject);
      asked.end();
    });
  }

  /** Opens a stream with headers that identify it. Ending it closes our direction only. */
  open(headers: Readonly<Record<string, string>>): Duplex {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new SpdyStream((data, flags) => {
      if (!this.#socket.destroyed) this.#socket.write(frame(id, flags, data));
    });
    this.#streams.set(id, stream);
    const block = deflateRawSync(headerBlock(headers), { finishFlush: constants.Z_SYNC_FLUSH });
    // All header blocks of a connection are one zlib stream; complete deflate blocks can be concatenated.
    const parts = [uint32(id), uint32(0), Buffer.alloc(2), ...(id === 1 ? [ZLIB_HEAD] : []), block];
    this.#socket.write(frame(CONTROL + VERSION * 0x10000 + SYN_STREAM, 0, Buffer.concat(parts)));
    return stream;
  }

  /** Destroys the connection, as a disconnecting client does. */
  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk]);
    while (this.#unread.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#unread.readUIntBE(5, 3);
      if (this.#unread.length < end) return;
      const frame = this.#unread.subarray(0, end);
      this.#unread = this.#unread.subarray(end);
      this.#handle(frame.readUInt32BE(0), frame.readUInt8(4), frame.subarray(HEAD_BYTES));
    }
  }

  #handle(word: number, flags: number, body: Buffer): void {
    if (word < CONTROL) {
      if (body.length > 0) this.#streams.get(word)?.push(body);
      if (flags & FLAG_FIN) this.#endStream(word);
      return;
    }
    // SYN_REPLY, SETTINGS, GOAWAY and WINDOW_UPDATE do not matter here.
    const type = word & 0xffff;
    if (type === PING) this.#socket.write(frame(word, 0, body));
    if (type === RST_STREAM) {
      const reason = body.readUInt32BE(4);
      // A server that has finished cancels all of its streams.
      this.#endStream(body.readUInt32BE(0), reason === CANCEL ? undefined : `reset with status ${reason}`);
    }
  }

  #endStream(id: number, failure?: string): void {
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    if (failure) stream?.destroy(new Error(`stream ${id}: ${failure}`));
    else stream?.push(null);
  }

  #end(): void {
    for (const id of [...this.#streams.keys()]) this.#endStream(id, this.#failure);
  }
}

class SpdyStream extends Duplex {
  readonly #send: (data: Buffer, flags: number) => void;

  constructor(send: (data: Buffer, flags: number) => void) {
    super({ allowHalfOpen: true });
    this.#send = send;
  }

  override _read(): void {
    // Frames are pushed as they arrive.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#send(chunk, 0);
    done();
  }

  override _final(done: () => void): void {
    this.#send(Buffer.alloc(0), FLAG_FIN);
    done();
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** `first`: the stream id of a data frame, or control bit, version and type. */
function frame(first: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(first);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

/** A count, then names and values, each preceded by its length. */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  const strings = entries.flat().flatMap((text) => [uint32(Buffer.byteLength(text)), Buffer.from(text)]);
  return Buffer.concat([uint32(entries.length), ...strings]);
}
