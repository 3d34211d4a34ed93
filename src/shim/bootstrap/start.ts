import { alreadyExists, HullError, unavailable } from "../../core/errors.ts";
import { answerOfPod, decideAnswer } from "./answer.ts";
import { awaitExit } from "./child.ts";
import type { DaemonBinary } from "./daemon-binary.ts";
import type { Flags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { encodeIdentity, identityOf, isAlive, livingDaemon, socketAnswers } from "./liveness.ts";
import { podOf } from "./membership.ts";
import { PodPaths } from "./pod-paths.ts";
import { type BootstrapRecord, encodeRecord } from "./record.ts";
import { adjustOomScore, awaitServing, spawnDaemon } from "./spawn-daemon.ts";
import { stagePod, sweepStaging } from "./staged-pod.ts";
import { parseStartInput } from "./start-input.ts";
import { exists, ifExists, SIGKILL, type Sys, writeAll } from "./sys.ts";
import { terminateUnused } from "./unused.ts";

/** How long a daemon may take until it serves, usually a tenth of a second. */
const SERVING_TIMEOUT_MS = 10_000;
/** How long the cleanup of an earlier pod with the same id may take. */
const CLEANUP_TIMEOUT_MS = 10_000;
/** How long an earlier shim of the same id may take to exit: the teardown of its pod may take 15 s. */
const EXIT_TIMEOUT_MS = 20_000;
/** Bytes of the largest config.json. */
const CONFIG_LIMIT = 16 * 1024 * 1024;

/**
 * Runs `start` for the bundle in the current directory, and returns what to print. For a container of a pod that is
 * the address of the pod's daemon; otherwise it creates a directory, a listening socket and a daemon. If it throws,
 * what it created is removed.
 */
export function start(binary: DaemonBinary, flags: Flags, stdin: Uint8Array, stateRoot?: string): string {
  const { sys } = binary;
  const startedAt = Date.now();
  checkIdentifier("namespace", flags.namespace);
  checkIdentifier("id", flags.id);
  const bundle = sys.getcwd();
  const input = parseStartInput(stdin, flags.namespace, flags.id);
  const config = ifExists(() =>
    new TextDecoder().decode(sys.readFile(`${bundle}/config.json`, CONFIG_LIMIT)),
  );
  const paths = new PodPaths(flags.namespace, podOf(flags.id, config), stateRoot);
  paths.checkLength();

  if (paths.pod !== flags.id) return joinPod(sys, paths, bundle);
  binary.check();
  freeId(binary, paths);
  return startPod(binary, paths, {
    namespace: flags.namespace,
    id: paths.pod,
    bundle,
    grpcAddress: flags.address || input.grpcAddress,
    ttrpcAddress: sys.getenv("TTRPC_ADDRESS") || input.ttrpcAddress,
    publishBinary: flags.publishBinary || input.containerdBinary,
    containerdVersion: input.containerdVersion,
    startedAt,
    logLevel: flags.debug && input.logLevel !== "trace" ? "debug" : (input.logLevel ?? "info"),
    options: input.options,
  });
}

/** Returns the address of the running pod. Throws Unavailable if its daemon does not answer. */
function joinPod(sys: Sys, paths: PodPaths, bundle: string): string {
  if (!socketAnswers(sys, paths)) {
    throw unavailable(`sandbox ${paths.pod}: its shim does not answer at ${paths.socket}; remove the pod`);
  }
  const answer = answerOfPod(sys, paths);
  sys.writeFile(`${bundle}/address`, answer);
  return answer;
}

/** Creates directory, socket and daemon of a pod, and returns what to print. */
function startPod(binary: DaemonBinary, paths: PodPaths, record: BootstrapRecord): string {
  const { sys } = binary;
  const { bundle } = record;
  const undo: (() => void)[] = [];
  try {
    const staged = stagePod(sys, paths, encodeRecord(record));
    undo.push(staged.discard);
    staged.publish();
    const answer = decideAnswer(binary, paths, record);
    // containerd's, which this process inherited and leaves below.
    const mountNamespace = sys.open("/proc/self/ns/mnt", sys.O_RDONLY);
    const root = sys.open("/", sys.O_PATH | sys.O_DIRECTORY);
    unshareMounts(sys);
    const [launcher, notify] = sys.pipe();
    const given = { listener: staged.listener, mountNamespace, root, launcher };
    const daemon = spawnDaemon(binary, paths, bundle, given);
    const { pid } = daemon;
    const identity = identityOf(sys, pid);
    // If it has exited already, `awaitServing` throws.
    if (identity !== undefined) {
      undo.push(() => {
        if (isAlive(sys, identity)) sys.kill(pid, SIGKILL);
      });
      sys.writeFile(paths.pid, encodeIdentity(identity));
      adjustOomScore(sys, pid);
    }
    undo.push(() => ifExists(() => sys.unlink(`${bundle}/address`)));
    sys.writeFile(`${bundle}/address`, answer);
    awaitServing(sys, daemon, SERVING_TIMEOUT_MS);
    writeAll(sys, notify, "1");
    return answer;
  } catch (error) {
    throw rollBack(error, undo.reverse());
  }
}

/** Runs every step and returns the error to throw: `cause`, with the steps that failed. */
export function rollBack(cause: unknown, steps: readonly (() => void)[]): unknown {
  const failures: string[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      failures.push(HullError.from(error).message);
    }
  }
  return failures.length === 0 ? cause : HullError.notUndone(cause, failures.join("; "));
}

/** Throws AlreadyExists if the id is in use, and cleans up after a dead daemon. */
function freeId(binary: DaemonBinary, paths: PodPaths): void {
  const { sys } = binary;
  sweepStaging(sys, paths);
  if (!exists(sys, paths.directory)) return;
  if (socketAnswers(sys, paths) && !terminateUnused(sys, paths)) {
    throw alreadyExists(`${paths.pod}: a shim with this id is running, its socket is ${paths.socket}`);
  }
  const daemon = livingDaemon(sys, paths);
  if (daemon && !awaitExit(sys, daemon.pid, EXIT_TIMEOUT_MS)) {
    throw alreadyExists(
      `${paths.pod}: the previous shim with this id is still running; retry, or kill process ${daemon.pid}`,
    );
  }
  if (!exists(sys, paths.directory)) return; // the daemon has removed it
  binary.cleanUp(paths, CLEANUP_TIMEOUT_MS);
}

/**
 * Enters a new mount namespace for the daemon, whose mounts vanish with its processes, even after SIGKILL. Later
 * mounts of the host propagate into it if they are shared there; its own propagate to the namespaces of its children.
 */
function unshareMounts(sys: Sys): void {
  try {
    sys.unshare(sys.CLONE_NEWNS);
    sys.mount("none", "/", "", sys.MS_REC | sys.MS_SLAVE);
    sys.mount("none", "/", "", sys.MS_REC | sys.MS_SHARED);
  } catch (error) {
    throw HullError.wrap("create a mount namespace (CAP_SYS_ADMIN is needed)", error);
  }
}
