import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { TEMPLATE_PARAMETER } from "../core/template-parameter.ts";
import { killAll } from "../host/kill.ts";
import { findByMark } from "../host/proc.ts";
import { StreamMatcher } from "../host/stream-matcher.ts";
import { consoleTail } from "../hypervisor/console-tail.ts";
import type { Hypervisor, Vm, VmSpec } from "../hypervisor/hypervisor.ts";
import { writeManifest } from "./manifest.ts";
import type { Template, TemplateStore } from "./store.ts";
import { templateFacts } from "./template-key.ts";

/**
 * The environment mark (host/process-launcher.ts) of a builder's VMM: the store's path, which cannot be a pod's
 * name.
 */
const builderMark = ({ directory }: TemplateStore) => directory;

/** What the agent writes to the console once it listens (guest-agent/src/boot/boot.ts). */
const READY = /hull-agent: info: ready/;

const STOP_MS = 2_000;

/**
 * Records nothing: the VMM dies with its builder (parent-death signal), and everything else is in the
 * builder's directory, which the next builder removes.
 */
const NO_LEDGER: Ledger = {
  record: async () => ({ update: async () => undefined, forget: async () => undefined }),
};

/** The deadline and the log of a build. */
export interface BuildContext {
  readonly deadline: Deadline;
  log(message: string, fields?: Record<string, unknown>): void;
}

/**
 * Boots `spec` without any of the pod's devices until the agent listens, and saves it. The caller holds the
 * lock.
 */
export async function buildTemplate(
  store: TemplateStore,
  key: string,
  spec: VmSpec,
  hypervisor: Hypervisor,
  context: BuildContext,
): Promise<Template> {
  const { deadline, log } = context;
  const started = performance.now();
  // The VMM of a killed builder may not have exited yet.
  const mark = builderMark(store);
  await killAll(await findByMark(mark), deadline);
  const directory = await store.begin(key);
  try {
    const memoryFile = join(directory, "memory.raw");
    // As root, like everything in the store: no pod's code runs in it.
    const bare = { user: undefined, netns: undefined, vsock: undefined, shares: [], nics: [], disks: [] };
    const kernelParams = [...spec.kernelParams, TEMPLATE_PARAMETER];
    const templateSpec: VmSpec = { ...spec, ...bare, name: "template", directory, memoryFile, kernelParams };
    await bootAndSave(hypervisor, templateSpec, mark, context);
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
  const matcher = new StreamMatcher(READY);
  const onConsole = (data: Buffer) => {
    if (matcher.matches(data)) ready.resolve();
  };
  const vm = await hypervisor.boot(spec, { deadline, log, ledger: NO_LEDGER, pod: mark, onConsole });
  try {
    await deadline.race(Promise.race([ready.promise, failed(vm)])).catch((thrown: unknown) => {
      const { code, message } = HullError.from(thrown);
      const end = consoleTail(vm.console());
      throw new HullError(code, `the guest agent did not become ready: ${message}${end}`, { cause: thrown });
    });
    await vm.pause(deadline);
    await vm.snapshot(spec.directory, deadline);
  } finally {
    await Deadline.within(STOP_MS, "stop the template's VM", (limit) => vm.stop(limit));
  }
}

async function failed(vm: Vm): Promise<never> {
  throw unavailable((await vm.exited).reason);
}
