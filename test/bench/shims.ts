import { join } from "node:path";
import { type BundleOptions, Bundles } from "./bundle.ts";
import type { Bench } from "./context.ts";
import { DirectShim } from "./direct-shim.ts";
import type { Subject } from "./subject.ts";

const prepared = new WeakMap<Bench, Promise<Bundles>>();

/** Returns the bundles of a benchmark run; the root file system is unpacked once. */
function bundlesOf(bench: Bench): Promise<Bundles> {
  let bundles = prepared.get(bench);
  if (!bundles) {
    bundles = Bundles.prepare(bench.ctr, join(bench.containerd.directory, "bench"));
    prepared.set(bench, bundles);
  }
  return bundles;
}

/** Creates a bundle and its shim, without starting it. */
export async function makeShim(bench: Bench, subject: Subject, options: BundleOptions): Promise<DirectShim> {
  const id = bench.id("direct");
  const bundle = await (await bundlesOf(bench)).make(id, options);
  const { namespace, containerd } = bench;
  return new DirectShim({ subject, namespace, id, bundle, containerd: containerd.address });
}

/** Runs `work` with a running container, which is always killed afterwards. */
export async function withContainer(
  bench: Bench,
  subject: Subject,
  options: BundleOptions,
  work: (shim: DirectShim) => Promise<void>,
): Promise<void> {
  const shim = await makeShim(bench, subject, options);
  try {
    await shim.start();
    await shim.create();
    await shim.startProcess();
    await work(shim);
    await shim.kill();
    await shim.delete();
    await shim.shutdown();
  } finally {
    await shim.dispose();
  }
}
