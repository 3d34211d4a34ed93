import { Deadline } from "../core/deadline.ts";
import { cleanUpPod } from "../pod/cleanup.ts";
import { PodPaths } from "./bootstrap/pod-paths.ts";

/** The front gives the clean-up 4 s, of which starting Node is a part. */
const LIMIT_MS = 3_500;

/** Releases the pod of a daemon that is gone. Prints nothing: what the front knows of the end is all there is. */
export async function cleanUp(namespace: string, id: string): Promise<void> {
  const deadline = Deadline.after(LIMIT_MS, `clean up pod ${namespace}/${id}`);
  await cleanUpPod(new PodPaths(namespace, id).directory, `${namespace}/${id}`, deadline);
  deadline.dispose();
}
