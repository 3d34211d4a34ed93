import { invalidArgument } from "../../core/errors.ts";
import { MAX_SOCKET_PATH } from "../../core/socket-path.ts";

/** The directory with the state of all pods. */
export const STATE_ROOT = "/run/hull";

/** A pod's directory and the files in it that launcher and daemon share. */
export class PodPaths {
  readonly namespaceDirectory: string;
  readonly directory: string;
  readonly socket: string;
  /** The daemon's parameters, see record.ts. */
  readonly record: string;
  /** PID and start time of the daemon. */
  readonly pid: string;
  /** PID and start time of the launcher that created this directory; removed at the first Create. */
  readonly unused: string;
  /** What `start` prints, if that is not just the address: then the daemon serves gRPC. */
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

  /** The socket's address as `start` prints it. */
  get address(): string {
    return `unix://${this.socket}`;
  }

  /** Throws InvalidArgument if the socket's path is too long for a unix socket. */
  checkLength(): void {
    if (this.socket.length > MAX_SOCKET_PATH) {
      throw invalidArgument(
        `socket path ${this.socket} has ${this.socket.length} bytes, ${MAX_SOCKET_PATH} are allowed; ` +
          `shorten the namespace or the id by ${this.socket.length - MAX_SOCKET_PATH} characters`,
      );
    }
  }
}
