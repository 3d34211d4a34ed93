import { type ErrorCode, HullError, resourceExhausted } from "../core/errors.ts";
import { freeMib } from "../host/free-space.ts";
import type { Hypervisor, VmSpec } from "../hypervisor/hypervisor.ts";
import { type BuildContext, buildTemplate } from "./build.ts";
import { type Template, TemplateStore } from "./store.ts";
import { templateKey } from "./template-key.ts";

/** `hypervisor.template` of the configuration. */
interface TemplateSettings {
  readonly template_path: string;
  /** In MiB. */
  readonly max_size: number;
  readonly wait: boolean;
}

interface TemplateContext extends BuildContext {
  warn(message: string): void;
  /** Runs the build outside the pod's cgroup, because its memory outlives the pod. */
  outsidePod?<T>(step: () => Promise<T>): Promise<T>;
}

/**
 * The MiB that a VM's template needs: what a booted guest uses, which is 45 MiB plus 1/64 of its memory for
 * the kernel's page descriptors, with a reserve for other kernels.
 */
const expectedMib = (memoryMib: number) => Math.min(memoryMib, 128 + Math.ceil(memoryMib / 32));

/**
 * Returns whether a VM with this spec can be cloned: all devices of a clone, even its vsock, are hot-plugged.
 */
export function canBeCloned(
  hypervisor: Hypervisor["type"],
  { machine, memory }: Pick<VmSpec, "machine" | "memory">,
): boolean {
  if (hypervisor === "cloud-hypervisor" || machine !== "q35") return false;
  // A clone's memory is a copy in a file next to its template and cannot have another backing.
  return !(memory && (memory.hugePages || memory.preallocate || memory.directory !== undefined));
}

/** Failures of a clone for which the template cannot be the cause. */
const NOT_THE_TEMPLATE: readonly ErrorCode[] = [
  "NotFound",
  "ResourceExhausted",
  "Canceled",
  "DeadlineExceeded",
];

/** What one clone reports about its template. */
export class TemplateUse {
  readonly #store: TemplateStore;

  constructor(
    directory: string,
    readonly template: Template,
  ) {
    this.#store = new TemplateStore(directory);
  }

  /** Counts the clone. */
  async count(): Promise<void> {
    await this.#store.countUse(this.template);
  }

  /** Returns whether the template was discarded since it was found, which explains any failure. */
  async isGone(): Promise<boolean> {
    return !(await this.#store.has(this.template));
  }

  /** Discards the template after a failed clone, unless the template cannot be the cause. */
  async failed(cause: unknown): Promise<void> {
    if (NOT_THE_TEMPLATE.includes(HullError.from(cause).code) || (await this.isGone())) return;
    await this.#store.discard(this.template.key);
  }
}

/**
 * Returns the template of a VM, built first if there is no valid one; undefined if another process is
 * building it and `settings.wait` is false. The builder that replaces an invalid template logs why.
 */
export async function obtainTemplate(
  hypervisor: Hypervisor,
  spec: VmSpec,
  settings: TemplateSettings,
  context: TemplateContext,
): Promise<Template | undefined> {
  const store = new TemplateStore(settings.template_path);
  await store.prepare();
  const key = await templateKey(hypervisor.type, spec);
  const found = await lookUp(store, key);
  if ("key" in found) return found;
  const lock = await store.lock(settings.wait, context.deadline);
  if (!lock) {
    context.log("another process is building a template", { key });
    return undefined;
  }
  try {
    const now = await lookUp(store, key);
    if ("key" in now) return now;
    if (now.code !== "NotFound") {
      context.warn(`${now.message}; rebuilding it`);
      await store.discard(key);
    }
    const expected = expectedMib(spec.memoryMib);
    await store.evict(expected, settings.max_size);
    await requireSpace(settings.template_path, expected + spec.memoryMib);
    const build = () => buildTemplate(store, key, spec, hypervisor, context);
    return await (context.outsidePod ? context.outsidePod(build) : build());
  } finally {
    await lock.release();
  }
}

/**
 * Throws ResourceExhausted if the templates' file system, which also holds the clones' memory, has too little
 * space.
 */
export async function requireSpace(directory: string, memoryMib: number): Promise<void> {
  const free = await freeMib(directory);
  if (free < memoryMib) {
    throw resourceExhausted(
      `template: ${directory} has ${free} MiB left, ${memoryMib} are needed; enlarge that file system or set hypervisor.template.template_path`,
    );
  }
}

async function lookUp(store: TemplateStore, key: string): Promise<Template | HullError> {
  try {
    return await store.find(key);
  } catch (thrown) {
    const error = HullError.from(thrown);
    if (error.code === "NotFound" || error.code === "DataLoss") return error;
    throw error;
  }
}
