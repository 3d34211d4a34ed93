import { invalidArgument } from "../../core/errors.ts";
import { MAX_SOCKET_PATH } from "../../core/socket-path.ts";

/** Where all pods' state lies. */
export const STATE_ROOT = "/run/hull";

/** The files of one pod's directory that the bootstrap owns. */
export class PodPaths {
  readonly namespaceDirectory: string;
  readonly directory: string;
  readonly socket: string;
  /** What the daemon needs to know, see record.ts. */
  readonly record: string;
  /** The daemon's pid and start time. */
  readonly pid: string;

  /** There until something is created: the mark of the `start` that made this directory. */
  readonly unused: string;

  /** What `start` answers, where that is more than the bare address: the daemon serves gRPC then. */
  readonly answer: string;

  constructor(
    readonly namespace: string,
    readonly pod: string,
    readonly stateRoot: string = STATE_ROOT,
  ) {
    this.namespaceDirectory = `${stateRoot}/${namespace}`;
    this.directory = `${this.namespaceDirectory}/${pod}`;
    this.socket = `${this.directory}/shim.sock`;
    this.record = `${this.directory}/bootstrap.json`;
    this.pid = `${this.directory}/shim.pid`;
    this.unused = `${this.directory}/unused`;
    this.answer = `${this.directory}/answer.json`;
  }

  /** How containerd is told the socket. */
  get address(): string {
    return `unix://${this.socket}`;
  }

  /** Throws InvalidArgument when the socket's path is longer than a unix socket's path can be. */
  checkLength(): void {
    if (this.socket.length > MAX_SOCKET_PATH) {
      throw invalidArgument(
        `socket path ${this.socket} has ${this.socket.length} bytes, ${MAX_SOCKET_PATH} are possible: ` +
          `shorten the namespace or the id by ${this.socket.length - MAX_SOCKET_PATH} characters`,
      );
    }
  }
}
