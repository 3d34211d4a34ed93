import { Deadline } from "../core/deadline.ts";
import { releaseRecorded } from "../ledger/release.ts";
import { removePodDirectory } from "../ledger/remove-pod-directory.ts";
import type { StateFile } from "../ledger/state-file.ts";
import type { Pod } from "../pod/pod.ts";
import type { EventPublisher } from "./events/publisher.ts";
import type { Log } from "./log/log.ts";

/** How long the pod's own teardown may take. `delete` releases what is left then. */
const POD_TIMEOUT_MS = 15_000;
/** How long pending events may delay the exit: containerd waits 3 s for Shutdown. */
const FLUSH_TIMEOUT_MS = 1_000;
const REMOVE_TIMEOUT_MS = 2_000;

/** What a daemon releases when it exits. */
interface PodResources {
  readonly pod: Pod;
  readonly events: EventPublisher;
  readonly ledger: StateFile;
  /** The pod's directory. */
  readonly directory: string;
  /** The directory that contains libexec/. */
  readonly installation: string;
  readonly log: Log;
}

/** Releases everything of a pod on the host: pod, events, ledger, directory. Logs failures and never rejects. */
export async function tearDown(resources: PodResources): Promise<void> {
  const { pod, events, directory, log } = resources;
  // What is left after a failure is in the ledger.
  const dispose = (limit: Deadline) => limit.race(pod.dispose());
  await Deadline.within(POD_TIMEOUT_MS, "end the pod", dispose).catch((error) =>
    log.error({ err: error }, "shim: stopping the pod failed"),
  );
  await Deadline.within(FLUSH_TIMEOUT_MS, "deliver the last events", (limit) => events.flush(limit));
  events.close();
  const remove = (limit: Deadline) => removeRest(resources, limit);
  await Deadline.within(REMOVE_TIMEOUT_MS, `remove ${directory}`, remove).catch((error) =>
    log.error({ err: error }, "shim: cleanup failed"),
  );
}

/** Tries again to release what is in the ledger. What fails a second time stays for `delete`. */
async function removeRest({ ledger, installation, directory }: PodResources, limit: Deadline): Promise<void> {
  if (ledger.resources.length > 0) await releaseRecorded(ledger, installation, limit);
  await removePodDirectory(directory, limit);
}
