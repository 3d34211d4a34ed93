import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { TEMPLATE_PARAMETER } from "../core/template-parameter.ts";
import { killAll } from "../host/kill.ts";
import { findByMark } from "../host/proc.ts";
import { WordWatch } from "../host/word-watch.ts";
import type { Hypervisor, Vm, VmSpec } from "../hypervisor/hypervisor.ts";
import { templateFacts } from "./key.ts";
import { writeManifest } from "./manifest.ts";
import type { Template, TemplateStore } from "./store.ts";

/** The mark (host/process-launcher.ts) of a builder's VMM: the store's path, which begins as no pod's name does. */
const builderMark = ({ directory }: TemplateStore) => directory;

/** What the guest agent writes to the console when it listens (guest-agent/src/boot/boot.ts). */
const READY = /hull-agent: info: ready/;

const STOP_MS = 2_000;

/** Characters of the console that a failure tells. */
const CONSOLE_END = 1_000;

/**
 * Records nothing: the VMM ends with its builder (parent-death signal), and what else there is lies in the builder's
 * folder, which the next builder removes.
 */
const NO_LEDGER: Ledger = {
  record: async () => ({ update: async () => undefined, forget: async () => undefined }),
};

export interface BuildContext {
  readonly deadline: Deadline;
  log(message: string, fields?: Record<string, unknown>): void;
}

/** Boots `spec` without any device of a pod, until the agent listens, and saves it. The caller has the store's lock. */
export async function buildTemplate(
  store: TemplateStore,
  key: string,
  spec: VmSpec,
  hypervisor: Hypervisor,
  context: BuildContext,
): Promise<Template> {
  const { deadline, log } = context;
  const started = performance.now();
  // The VMM of a builder that was killed may still be dying.
  const mark = builderMark(store);
  await killAll(await findByMark(mark), deadline);
  const directory = await store.begin(key);
  try {
    const memoryFile = join(directory, "memory.raw");
    // Root's, as all that is in the store: nothing of a pod's runs in it.
    const bare = { user: undefined, netns: undefined, vsock: undefined, shares: [], nics: [], disks: [] };
    const kernelParams = [...spec.kernelParams, TEMPLATE_PARAMETER];
    const machine: VmSpec = { ...spec, ...bare, name: "template", directory, memoryFile, kernelParams };
    await bootAndSave(hypervisor, machine, mark, context);
    await rm(memoryFile, { force: true });
    const buildMs = Math.round(performance.now() - started);
    await writeManifest(directory, { key, facts: templateFacts(hypervisor.type, spec), buildMs });
    const template = await store.publish(key, directory);
    log("built a template", { key, buildMs });
    return template;
  } catch (thrown) {
    await rm(directory, { recursive: true, force: true });
    throw HullError.wrap("build a template", thrown);
  }
}

async function bootAndSave(
  hypervisor: Hypervisor,
  spec: VmSpec,
  mark: string,
  context: BuildContext,
): Promise<void> {
  const { deadline, log } = context;
  const ready = deferred<void>();
  const watch = new WordWatch(READY);
  const onConsole = (data: Buffer) => {
    if (watch.comesWith(data)) ready.resolve();
  };
  const vm = await hypervisor.boot(spec, { deadline, log, ledger: NO_LEDGER, pod: mark, onConsole });
  try {
    await deadline.race(Promise.race([ready.promise, failed(vm)])).catch((thrown: unknown) => {
      const { code, message } = HullError.from(thrown);
      const words = vm.console().trimEnd().slice(-CONSOLE_END);
      const end = words === "" ? "" : `; the guest's last console lines:\n${words}`;
      throw new HullError(code, `the guest agent did not become ready: ${message}${end}`, { cause: thrown });
    });
    await vm.pause(deadline);
    await vm.snapshot(spec.directory, deadline);
  } finally {
    const limit = Deadline.after(STOP_MS, "stop the template's VM");
    await vm.stop(limit);
    limit.dispose();
  }
}

async function failed(vm: Vm): Promise<never> {
  throw unavailable((await vm.exited).reason);
}
