import { Deadline } from "../core/deadline.ts";
import { cleanUpPod } from "../ledger/clean-up-pod.ts";
import { PodPaths } from "./bootstrap/pod-paths.ts";
import { installation } from "./installation.ts";

/** The launcher gives the clean-up 4 s, of which starting Node is a part. */
const LIMIT_MS = 3_500;

/**
 * Releases the pod of a daemon that is gone. Prints nothing on stdout: what the launcher knows of the end is all there is.
 * Warnings go to stderr.
 */
export async function cleanUp(namespace: string, id: string): Promise<void> {
  const { directory } = new PodPaths(namespace, id);
  const warn = (message: string) => void process.stderr.write(`hull-shim: ${message}\n`);
  const pod = { directory, namespace, id };
  await Deadline.within(LIMIT_MS, `clean up pod ${namespace}/${id}`, (limit) =>
    cleanUpPod(pod, installation(), warn, limit),
  );
}
