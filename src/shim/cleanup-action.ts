import { Deadline } from "../core/deadline.ts";
import { cleanUpPod } from "../ledger/clean-up-pod.ts";
import { PodPaths } from "./bootstrap/pod-paths.ts";

/** The launcher allows 4 s, which includes the start of Node. */
const LIMIT_MS = 3_500;

/**
 * Releases what a dead daemon left of its pod; warnings go to stderr. Prints nothing on stdout: it knows no more
 * about the pod's exit than the launcher. `installation` is the directory that contains libexec/.
 */
export async function cleanUp(installation: string, namespace: string, id: string): Promise<void> {
  const { directory } = new PodPaths(namespace, id);
  const warn = (message: string) => void process.stderr.write(`hull-shim: ${message}\n`);
  const pod = { directory, namespace, id };
  await Deadline.within(LIMIT_MS, `clean up pod ${namespace}/${id}`, (limit) =>
    cleanUpPod(pod, installation, warn, limit),
  );
}
