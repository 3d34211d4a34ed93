/**
 * CRI's streaming calls as the kubelet makes them: Kubernetes' remote command and port forward protocols over
 * SPDY.
 */
import assert from "node:assert/strict";
import type { Duplex, Writable } from "node:stream";
import type { CriContainer, CriPod } from "./cri.ts";
import { OutputReader } from "./output-reader.ts";
import { SpdyConnection } from "./spdy.ts";

interface StreamOptions {
  readonly stdin?: boolean;
  /** One output stream, and a window size. */
  readonly tty?: boolean;
}

/** The client of a running command, with the streams of `kubectl exec` and `kubectl attach`. */
export class RemoteCommand {
  readonly stdout: OutputReader;
  /** undefined with a terminal. */
  readonly stderr: OutputReader | undefined;
  readonly stdin: Writable | undefined;
  readonly #resize: Writable | undefined;
  readonly #status: OutputReader;
  readonly #connection: SpdyConnection;

  private constructor(connection: SpdyConnection, { stdin = false, tty = false }: StreamOptions) {
    const open = (streamtype: string) => connection.open({ streamtype });
    this.#connection = connection;
    this.#status = new OutputReader(open("error"));
    this.stdin = stdin ? open("stdin") : undefined;
    this.stdout = new OutputReader(open("stdout"));
    this.stderr = tty ? undefined : new OutputReader(open("stderr"));
    this.#resize = tty ? open("resize") : undefined;
  }

  /** Runs `command` in the container. */
  static async exec(
    { cri, id }: CriContainer,
    command: readonly string[],
    options: StreamOptions = {},
  ): Promise<RemoteCommand> {
    const { url } = await cri.runtime.exec({ containerId: id, cmd: [...command], ...streams(options) });
    return await RemoteCommand.#connect(url, options);
  }

  /** Attaches to the container's own streams. */
  static async attach({ cri, id }: CriContainer, options: StreamOptions = {}): Promise<RemoteCommand> {
    const { url } = await cri.runtime.attach({ containerId: id, ...streams(options) });
    return await RemoteCommand.#connect(url, options);
  }

  static async #connect(url: string, options: StreamOptions): Promise<RemoteCommand> {
    return new RemoteCommand(await SpdyConnection.connect(url, "v4.channel.k8s.io"), options);
  }

  /** Sets the terminal's size. */
  resize(columns: number, rows: number): void {
    assert.ok(this.#resize, "a command without a terminal has no size");
    this.#resize.write(JSON.stringify({ Width: columns, Height: rows }));
  }

  /**
   * Resolves with the exit code once the command has exited. Rejects with the server's message if it did not
   * run.
   */
  async exitCode(): Promise<number> {
    await this.#status.ended;
    assert.notEqual(this.#status.text, "", "the server ended the connection without a status");
    const { status, reason, message, details } = JSON.parse(this.#status.text) as Status;
    if (status === "Success") return 0;
    const code = details?.causes?.find((cause) => cause.reason === "ExitCode")?.message;
    if (reason !== "NonZeroExitCode" || code === undefined) throw new Error(message);
    return Number(code);
  }

  /** Disconnects; an attached container keeps running. */
  detach(): void {
    this.#connection.close();
  }
}

/** The content of the error stream: metav1.Status. */
interface Status {
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly reason: string; readonly message: string }[] };
}

const streams = ({ stdin = false, tty = false }: StreamOptions) => ({
  stdin,
  stdout: true,
  stderr: !tty,
  tty,
});

/** A connection to a port of the pod; the error stream has the reason if it fails. */
interface ForwardedConnection {
  readonly data: Duplex;
  readonly error: OutputReader;
}

/**
 * `kubectl port-forward`: any number of connections to the pod's localhost over one connection to the
 * runtime.
 */
export class PortForward {
  readonly #connection: SpdyConnection;
  #requests = 0;

  private constructor(connection: SpdyConnection) {
    this.#connection = connection;
  }

  static async open({ cri, id }: CriPod): Promise<PortForward> {
    const { url } = await cri.runtime.portForward({ podSandboxId: id });
    return new PortForward(await SpdyConnection.connect(url, "portforward.k8s.io"));
  }

  connect(port: number): ForwardedConnection {
    const headers = { port: String(port), requestid: String(this.#requests++) };
    const error = this.#connection.open({ ...headers, streamtype: "error" });
    error.end();
    const data = this.#connection.open({ ...headers, streamtype: "data" });
    return { data, error: new OutputReader(error) };
  }

  close(): void {
    this.#connection.close();
  }
}
