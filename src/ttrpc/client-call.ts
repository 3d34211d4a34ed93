import { canceled, HullError, internal } from "../core/errors.ts";
import type { ClientConnection, ClientRoute } from "./client.ts";
import type { MessageCodec } from "./definition.ts";
import { Flag } from "./frame.ts";
import { Inbox } from "./inbox.ts";

/** A call under way, as the connection sees it. It is over after `response`, after `fail`, or when it says so. */
export abstract class Call {
  id = 0;
  name = "";
  /** Takes the call off the connection. */
  released: (() => void) | undefined;
  detachDeadline: (() => void) | undefined;
  #over = false;

  get over(): boolean {
    return this.#over;
  }

  /** The final answer of a successful call. */
  abstract response(payload: Uint8Array): void;
  abstract data(flags: number, payload: Uint8Array): void;
  /** Ends the call with an error, once. */
  fail(error: HullError): void {
    if (this.release()) this.rejected(HullError.wrap(this.name, error));
  }

  protected abstract rejected(error: HullError): void;

  /** Marks the call as over; false if it was already. */
  protected release(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.released?.();
    this.detachDeadline?.();
    return true;
  }

  protected decode<T>(codec: MessageCodec<T>, payload: Uint8Array): T | undefined {
    try {
      return codec.decode(payload);
    } catch (thrown) {
      this.fail(internal(`answer cannot be decoded: ${HullError.from(thrown).message}`));
      return undefined;
    }
  }
}

export class UnaryCall<Resp> extends Call {
  constructor(
    readonly codec: MessageCodec<Resp>,
    readonly resolve: (response: Resp) => void,
    readonly reject: (error: HullError) => void,
  ) {
    super();
  }

  override response(payload: Uint8Array): void {
    const message = this.decode(this.codec, payload);
    if (message !== undefined && this.release()) this.resolve(message);
  }

  override data(): void {
    this.fail(internal("the server sent stream data in a call without streams"));
  }

  protected override rejected(error: HullError): void {
    this.reject(error);
  }
}

/** A call in which at least one side streams; the typed client shows the part of it that fits the method. */
export class StreamCall<Req, Resp> extends Call implements AsyncIterable<Resp> {
  readonly #connection: ClientConnection;
  readonly #requestType: MessageCodec<Req>;
  readonly #responseType: MessageCodec<Resp>;
  readonly #serverStreams: boolean;
  readonly #inbox: Inbox<Resp>;
  #sendClosed: boolean;
  #error: HullError | undefined;

  constructor(
    connection: ClientConnection,
    { method }: ClientRoute,
    requestType: MessageCodec<Req>,
    responseType: MessageCodec<Resp>,
  ) {
    super();
    this.#connection = connection;
    this.#requestType = requestType;
    this.#responseType = responseType;
    this.#serverStreams = method.responseStream;
    this.#sendClosed = !method.requestStream;
    this.#inbox = new Inbox<Resp>(
      connection.channel,
      (error) => this.fail(error),
      () => this.cancel(),
    );
  }

  async send(message: Req): Promise<void> {
    if (this.#error) throw this.#error;
    if (this.over || this.#sendClosed) throw canceled(`${this.name}: the stream takes no more messages`);
    this.#connection.channel.send(this.#connection.encoder.data(this.id, this.#requestType, message));
    await this.#connection.channel.ready();
  }

  closeSend(): void {
    if (this.#sendClosed) return;
    this.#sendClosed = true;
    if (!this.over) this.#connection.channel.send(this.#connection.encoder.end(this.id));
  }

  async finish(): Promise<Resp> {
    this.closeSend();
    const result = await this.#inbox.next();
    if (result.done)
      throw this.#error ?? internal(`${this.name}: the server ended the call without an answer`);
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
    const message = this.decode(this.#responseType, payload);
    if (message === undefined) return;
    this.#inbox.push(message, payload.length);
    this.#complete();
  }

  override data(flags: number, payload: Uint8Array): void {
    if (!this.#serverStreams) {
      this.fail(internal("the server sent stream data in a call with one answer"));
      return;
    }
    if ((flags & Flag.NoData) === 0) {
      const message = this.decode(this.#responseType, payload);
      if (message === undefined) return;
      this.#inbox.push(message, payload.length);
    }
    if ((flags & Flag.RemoteClosed) !== 0) this.#complete();
  }

  protected override rejected(error: HullError): void {
    this.#error = error;
    this.#inbox.fail(error);
  }

  #complete(): void {
    if (this.release()) this.#inbox.end();
  }
}
