import { canceled, HullError, internal } from "../core/errors.ts";
import type { FrameChannel } from "./channel.ts";
import type { MessageCodec, MethodDefinition } from "./definition.ts";
import type { FrameEncoder } from "./envelope.ts";
import { Flag } from "./frame.ts";
import { Inbox } from "./inbox.ts";

/** An error status from the peer, which chose class and message. It is the `cause` of the caller's error. */
export class PeerError extends HullError {}

/** Runs `read`, and throws Internal with our own message if the peer's bytes cannot be decoded. */
export function decodeAnswer<T>(read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw internal(`response cannot be decoded: ${HullError.from(thrown).message}`);
  }
}

/** A pending call, as the connection sees it. It ends with `response`, with `fail`, or by itself. */
export abstract class Call {
  id = 0;
  name = "";
  /** Removes the call from the connection. */
  released: (() => void) | undefined;
  detachDeadline: (() => void) | undefined;
  #over = false;

  get over(): boolean {
    return this.#over;
  }

  /** Takes the final response of a successful call. Throws if it violates the protocol, as `data` does. */
  abstract response(payload: Uint8Array): void;
  abstract data(flags: number, payload: Uint8Array): void;
  /** Ends the call with an error; does nothing if it has ended. */
  fail(error: HullError): void {
    if (this.release()) this.rejected(HullError.wrap(this.name, error));
  }

  protected abstract rejected(error: HullError): void;

  /** Marks the call as ended; returns false if it had ended already. */
  protected release(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.released?.();
    this.detachDeadline?.();
    return true;
  }
}

/** A call with one request and one response. */
export class UnaryCall<Resp> extends Call {
  constructor(
    readonly codec: MessageCodec<Resp>,
    readonly resolve: (response: Resp) => void,
    readonly reject: (error: HullError) => void,
  ) {
    super();
  }

  override response(payload: Uint8Array): void {
    const message = decodeAnswer(() => this.codec.decode(payload));
    if (this.release()) this.resolve(message);
  }

  override data(): void {
    throw internal("stream data in a call without streams");
  }

  protected override rejected(error: HullError): void {
    this.reject(error);
  }
}

/** A call in which at least one side streams; the typed client exposes what fits the method. */
export class StreamCall<Req, Resp> extends Call implements AsyncIterable<Resp> {
  readonly #channel: FrameChannel;
  readonly #encoder: FrameEncoder;
  readonly #requestType: MessageCodec<Req>;
  readonly #responseType: MessageCodec<Resp>;
  readonly #serverStreams: boolean;
  readonly #inbox: Inbox<Resp>;
  #sendClosed: boolean;
  #error: HullError | undefined;

  constructor(
    channel: FrameChannel,
    encoder: FrameEncoder,
    method: MethodDefinition,
    requestType: MessageCodec<Req>,
    responseType: MessageCodec<Resp>,
  ) {
    super();
    this.#channel = channel;
    this.#encoder = encoder;
    this.#requestType = requestType;
    this.#responseType = responseType;
    this.#serverStreams = method.responseStream;
    this.#sendClosed = !method.requestStream;
    this.#inbox = new Inbox<Resp>(
      channel,
      (error) => this.fail(error),
      () => this.cancel(),
    );
  }

  async send(message: Req): Promise<void> {
    if (this.#error) throw this.#error;
    if (this.over || this.#sendClosed) throw canceled(`${this.name}: the stream accepts no more messages`);
    this.#channel.send(this.#encoder.data(this.id, this.#requestType, message));
    await this.#channel.ready();
  }

  closeSend(): void {
    if (this.#sendClosed) return;
    this.#sendClosed = true;
    if (!this.over) this.#channel.send(this.#encoder.end(this.id));
  }

  async finish(): Promise<Resp> {
    this.closeSend();
    const result = await this.#inbox.next();
    if (result.done)
      throw this.#error ?? internal(`${this.name}: the server ended the call without a response`);
    return result.value;
  }

  cancel(): void {
    this.closeSend();
    this.fail(canceled("canceled by the caller"));
  }

  [Symbol.asyncIterator](): AsyncIterator<Resp, undefined> {
    return this.#inbox;
  }

  override response(payload: Uint8Array): void {
    this.#push(payload);
    this.#complete();
  }

  override data(flags: number, payload: Uint8Array): void {
    if (!this.#serverStreams) throw internal("stream data in a unary call");
    if ((flags & Flag.NoData) === 0) this.#push(payload);
    if ((flags & Flag.RemoteClosed) !== 0) this.#complete();
  }

  #push(payload: Uint8Array): void {
    this.#inbox.push(
      decodeAnswer(() => this.#responseType.decode(payload)),
      payload.length,
    );
  }

  protected override rejected(error: HullError): void {
    this.#error = error;
    this.#inbox.fail(error);
  }

  #complete(): void {
    if (this.release()) this.#inbox.end();
  }
}
