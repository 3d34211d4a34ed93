import { stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { failedPrecondition, HullError, ignoring } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { type ListeningSocket, listeningSocket } from "../host/listening-socket.ts";
import { limitOf } from "../host/proc.ts";
import { type HostProcess, launch } from "../host/process-launcher.ts";
import { run } from "../host/run.ts";
import { checkSocketPath } from "../host/socket-path.ts";
import {
  flavourOf,
  type VirtiofsdCache,
  type VirtiofsdFlavour,
  virtiofsdArguments,
} from "./virtiofsd-command-line.ts";

interface VirtiofsdSpec {
  /** Path of the program. */
  readonly path: string;
  readonly cache: VirtiofsdCache;
  readonly extraArgs: readonly string[];
  /** Where the socket `fs.sock` is created. */
  readonly directory: string;
  /**
   * The directory to share: a shared mount (SharedTree), because otherwise later mounts below it would not
   * show.
   */
  readonly shared: string;
  /** `<namespace>/<pod>`. */
  readonly pod: string;
}

/** A running virtiofsd. */
export interface Virtiofsd {
  /** The vhost-user socket for the VMM, which accepts connections from the start. */
  readonly socket: string;
  readonly process: HostProcess;
  /**
   * The number of files that the guest may cache: the daemon has an open descriptor for each, and when it
   * gets no more, every access fails in the guest.
   */
  maxFiles(): Promise<number>;
  /** Stops the daemon and removes its socket. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}

/**
 * Starts virtiofsd on a socket that we bind and it inherits, so that nothing has to wait for it: a VMM that
 * connects early waits in the listen queue.
 */
export async function startVirtiofsd(
  spec: VirtiofsdSpec,
  ledger: Ledger,
  deadline: Deadline,
): Promise<Virtiofsd> {
  const flavour = await detectFlavour(spec.path, deadline);
  const socket = checkSocketPath(join(spec.directory, "fs.sock"));
  const entry = await ledger.record({ kind: "socket", path: socket });
  let daemon: HostProcess | undefined;
  const stop = async (by: Deadline) => {
    await daemon?.stop(by);
    await unlink(socket).catch(ignoring("ENOENT"));
    await entry.forget();
  };
  let listening: ListeningSocket | undefined;
  try {
    listening = await listeningSocket(socket);
    const args = virtiofsdArguments(flavour, { ...spec, fd: 0 });
    const argv: [string, ...string[]] = [spec.path, ...args];
    const process = await launch({ role: "virtiofsd", argv, pod: spec.pod, stdin: listening.fd }, ledger);
    daemon = process;
    // Half of them: files that containers have open count twice, and the guest only checks once a second.
    const maxFiles = async () => Math.floor((await limitOf(process.pid, "open files")) / 2);
    return { socket, process, maxFiles, stop };
  } catch (thrown) {
    throw HullError.wrap(`share ${spec.shared}`, await undo(thrown, stop), "Unavailable");
  } finally {
    listening?.release();
  }
}

const flavours = new Map<string, Promise<VirtiofsdFlavour>>();

/** Detects the implementation by `--help`, once per program file. */
async function detectFlavour(program: string, deadline: Deadline): Promise<VirtiofsdFlavour> {
  const { ino, mtimeMs } = await stat(program).catch((thrown: unknown) => {
    throw HullError.wrap("virtiofsd", thrown, "FailedPrecondition");
  });
  const key = `${program} ${ino} ${mtimeMs}`;
  let known = flavours.get(key);
  if (!known) {
    known = run([program, "--help"], deadline).then((help) => {
      const flavour = flavourOf(help);
      if (flavour) return flavour;
      throw failedPrecondition(
        `virtiofsd: ${program} has neither the C nor the Rust daemon's options; set hypervisor.virtio_fs_daemon`,
      );
    });
    known.catch(() => flavours.delete(key));
    flavours.set(key, known);
  }
  return await known;
}
