import { type FSWatcher, watch } from "node:fs";
import { access, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError, ignoring, unavailable } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import { undo } from "../core/undo.ts";
import { PathAccess } from "../host/path-access.ts";
import { listensOn } from "../host/proc.ts";
import { type HostProcess, launch, type ProcessExit } from "../host/process-launcher.ts";
import type { ProcessUser } from "../host/process-user.ts";
import { checkSocketPath } from "../host/socket-path.ts";

interface VsockDaemonSpec {
  /** Path of the program `vhost-device-vsock`. */
  readonly path: string;
  /** Where the sockets `vhu.sock` and `vs` are created. */
  readonly directory: string;
  /** `<namespace>/<pod>`. */
  readonly pod: string;
  /** The user that it runs as, who owns `directory`; root if undefined. */
  readonly user?: ProcessUser | undefined;
  /** Path of hull's seccomp-exec (native/), because the daemon has no filter of its own. */
  readonly filter?: string;
}

/** A running vhost-device-vsock. */
interface VsockDaemon {
  /** The vhost-user socket for the VMM. */
  readonly vhostUserSocket: string;
  /** The hybrid vsock socket for `connect`. */
  readonly hybridSocket: string;
  readonly process: HostProcess;
  /** Stops the daemon and removes its sockets. Idempotent. */
  stop(deadline: Deadline): Promise<void>;
}

/**
 * The guest's context id. Each VM has a daemon of its own, which does not forward between VMs, so all guests
 * use the same. 3 is the first that is not reserved (vsock(7)).
 */
export const GUEST_CID = 3;

/** Starts the daemon and resolves once the VMM can connect to it. */
export async function startVsockDaemon(
  spec: VsockDaemonSpec,
  ledger: Ledger,
  deadline: Deadline,
): Promise<VsockDaemon> {
  const vhostUserSocket = checkSocketPath(join(spec.directory, "vhu.sock"));
  const hybridSocket = checkSocketPath(join(spec.directory, "vs"));
  const sockets = [vhostUserSocket, hybridSocket];
  const entries = await Promise.all(sockets.map((path) => ledger.record({ kind: "socket", path })));
  // The daemon binds its sockets itself and fails if an earlier one has left them.
  await Promise.all(sockets.map(removeSocket));
  const appeared = watchFor(vhostUserSocket);
  let process: HostProcess | undefined;
  const stop = async (by: Deadline) => {
    appeared.close();
    await process?.stop(by);
    await Promise.all(sockets.map(removeSocket));
    await Promise.all(entries.map((entry) => entry.forget()));
  };
  const access = new PathAccess(spec.user, 3);
  try {
    await access.addDirectory(spec.directory);
    const program = await access.addFile(spec.path, "execute");
    const argv = [
      ...(spec.filter === undefined ? [spec.path] : [spec.filter, program]),
      ...["--guest-cid", String(GUEST_CID)],
      ...["--socket", access.at(vhostUserSocket)],
      ...["--uds-path", access.at(hybridSocket)],
    ] as [string, ...string[]];
    // Its worker can panic while the process keeps running but answers nothing (README.md): such a pod must
    // not hang.
    process = await launch(
      {
        ...{ role: "vhost-device-vsock", argv, pod: spec.pod, fatal: /panicked at/ },
        // It only uses Unix sockets with a path, no network.
        ...{ user: spec.user, fds: access.fds, ownNetns: true },
      },
      ledger,
    );
    const died = process.exited.then((exit: ProcessExit) => {
      throw unavailable(`${exit.reason} before it listened on ${vhostUserSocket}`);
    });
    died.catch(() => undefined); // after the start, `process.exited` reports its exit
    await deadline.race(Promise.race([appeared.promise, died]));
    // The name exists from bind(2) on, and a trial connect would do harm (README.md).
    const { pid } = process;
    await pollUntil(() => listensOn(pid, basename(vhostUserSocket)), deadline);
    return { vhostUserSocket, hybridSocket, process, stop };
  } catch (thrown) {
    throw HullError.wrap("start the vsock daemon", await undo(thrown, stop), "Unavailable");
  } finally {
    appeared.close();
    await access.close();
  }
}

async function removeSocket(path: string): Promise<void> {
  await unlink(path).catch(ignoring("ENOENT"));
}

/** Resolves when the file exists, by inotify(7). */
function watchFor(path: string): { promise: Promise<void>; close(): void } {
  let watcher: FSWatcher | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    watcher = watch(dirname(path), (_event, name) => {
      if (name === basename(path)) resolve();
    });
    watcher.on("error", reject);
    access(path).then(resolve, () => undefined); // not there yet: the watcher will report it
  });
  promise.catch(() => undefined); // awaited once the daemon has been started
  return { promise, close: () => watcher?.close() };
}
