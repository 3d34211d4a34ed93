import { alreadyExists, HullError, unavailable } from "../../core/errors.ts";
import { answerOfPod, decideAnswer } from "./answer.ts";
import { awaitEnd } from "./child.ts";
import type { Flags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { encodeMark, lives, livingDaemon, markOf, socketAnswers } from "./liveness.ts";
import { podOf } from "./membership.ts";
import { PodPaths } from "./pod-paths.ts";
import { encodeRecord } from "./record.ts";
import { adjustOomScore, awaitServing, cleanUp, type Installation, spawnDaemon } from "./spawn-daemon.ts";
import { stagePod, sweepStaging } from "./staged-pod.ts";
import { parseStartInput } from "./start-input.ts";
import { exists, ifExists, SIGKILL, type Sys, writeAll } from "./sys.ts";
import { endUnused } from "./unused.ts";

/** How long a daemon may take until it serves; on a machine at rest it is a tenth of a second. */
const SERVING_MS = 10_000;
/** For leftovers of an earlier pod with the same id. */
const STALE_CLEANUP_MS = 10_000;
/** For an earlier shim of the same id that is about to end: it gives its pod 15 s. */
const ENDING_MS = 20_000;
const CONFIG_LIMIT = 16 * 1024 * 1024;

/**
 * `start`: gives the address of the pod that the container in the current directory belongs to. A pod member gets
 * the address of its pod's daemon; anything else gets a directory, a listening socket and a daemon of its own.
 * When it throws, nothing that it made is left.
 */
export function start(
  sys: Sys,
  installation: Installation,
  flags: Flags,
  input: Uint8Array,
  stateRoot?: string,
): string {
  const startedAt = Date.now();
  checkIdentifier("namespace", flags.namespace);
  checkIdentifier("id", flags.id);
  const bundle = sys.getcwd();
  const said = parseStartInput(input, flags.namespace, flags.id);
  const config = ifExists(() =>
    new TextDecoder().decode(sys.readFile(`${bundle}/config.json`, CONFIG_LIMIT)),
  );
  const paths = new PodPaths(flags.namespace, podOf(flags.id, config), stateRoot);
  paths.checkLength();

  if (paths.pod !== flags.id) {
    if (!socketAnswers(sys, paths)) {
      throw unavailable(`sandbox ${paths.pod}: its shim does not answer at ${paths.socket}: remove the pod`);
    }
    const answer = answerOfPod(sys, paths);
    sys.writeFile(`${bundle}/address`, answer);
    return answer;
  }

  installation.check(sys);
  freeId(sys, installation, paths);
  const undo: (() => void)[] = [];
  try {
    const record = encodeRecord({
      namespace: flags.namespace,
      id: paths.pod,
      bundle,
      grpcAddress: flags.address || said.grpcAddress,
      ttrpcAddress: sys.getenv("TTRPC_ADDRESS") || said.ttrpcAddress,
      publishBinary: flags.publishBinary || said.containerdBinary,
      containerdVersion: said.containerdVersion,
      startedAt,
      logLevel: flags.debug && said.logLevel !== "trace" ? "debug" : (said.logLevel ?? "info"),
      options: said.options,
    });
    const staged = stagePod(sys, paths, record);
    undo.push(staged.discard);
    staged.publish();
    const answer = decideAnswer(sys, installation, paths, said.options, {
      version: said.containerdVersion,
      binary: flags.publishBinary || said.containerdBinary,
    });
    // The caller's, which is containerd's, from before this process leaves it.
    const mountNamespace = sys.open("/proc/self/ns/mnt", sys.O_RDONLY);
    const root = sys.open("/", sys.O_PATH | sys.O_DIRECTORY);
    ownMountNamespace(sys);
    const [launcher, ours] = sys.pipe();
    const daemon = spawnDaemon(sys, installation, paths, bundle, {
      ...{ listener: staged.listener, mountNamespace, root, launcher },
    });
    const { pid } = daemon;
    const mark = markOf(sys, pid);
    // Without one it has ended already, which is told below.
    if (mark !== undefined) {
      undo.push(() => {
        if (lives(sys, mark)) sys.kill(pid, SIGKILL);
      });
      sys.writeFile(paths.pid, encodeMark(mark));
      adjustOomScore(sys, pid);
    }
    undo.push(() => ifExists(() => sys.unlink(`${bundle}/address`)));
    sys.writeFile(`${bundle}/address`, answer);
    awaitServing(sys, daemon, SERVING_MS);
    writeAll(sys, ours, "1");
    return answer;
  } catch (error) {
    throw undone(error, undo.reverse());
  }
}

/** Runs every step; the error to throw then says what could not be undone. */
export function undone(cause: unknown, steps: readonly (() => void)[]): unknown {
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

/** Refuses an id whose pod lives, and cleans up after one that died. */
function freeId(sys: Sys, installation: Installation, paths: PodPaths): void {
  sweepStaging(sys, paths);
  if (!exists(sys, paths.directory)) return;
  if (socketAnswers(sys, paths) && !endUnused(sys, paths)) {
    throw alreadyExists(`${paths.pod}: a shim with this id is running, its socket is ${paths.socket}`);
  }
  const daemon = livingDaemon(sys, paths);
  if (daemon && !awaitEnd(sys, daemon.pid, ENDING_MS)) {
    throw alreadyExists(
      `${paths.pod}: the previous shim with this id is still running: retry, or kill process ${daemon.pid}`,
    );
  }
  if (!exists(sys, paths.directory)) return; // it has cleaned up after itself
  cleanUp(sys, installation, paths, STALE_CLEANUP_MS);
}

/**
 * A mount namespace for the daemon: its mounts vanish with it, even after SIGKILL. What the host mounts later arrives
 * where its mounts are shared, and not where they are private. Shared inside, because what the daemon starts has namespaces of its own.
 */
function ownMountNamespace(sys: Sys): void {
  try {
    sys.unshare(sys.CLONE_NEWNS);
    sys.mount("none", "/", "", sys.MS_REC | sys.MS_SLAVE);
    sys.mount("none", "/", "", sys.MS_REC | sys.MS_SHARED);
  } catch (error) {
    throw HullError.wrap("create a mount namespace (CAP_SYS_ADMIN is needed)", error);
  }
}
