import { type ErrorCode, HullError, resourceExhausted } from "../core/errors.ts";
import { freeMib } from "../host/free-space.ts";
import type { Hypervisor, VmSpec } from "../hypervisor/hypervisor.ts";
import { type BuildContext, buildTemplate } from "./build.ts";
import { templateKey } from "./key.ts";
import { type Template, TemplateStore } from "./store.ts";

/** The configuration's `hypervisor.template`. */
interface TemplateSettings {
  readonly template_path: string;
  /** MiB. */
  readonly max_size: number;
  readonly wait: boolean;
}

interface TemplateContext extends BuildContext {
  warn(message: string): void;
  /** Runs the building, whose memory outlives the pod that it is done for. */
  outsidePod?<T>(step: () => Promise<T>): Promise<T>;
}

/**
 * MiB that a template of a VM takes: what a booted guest has in use, which is 45 and 1/64 of its memory for the
 * kernel's descriptions of pages. With room for other kernels.
 */
const expectedMib = (memoryMib: number) => Math.min(memoryMib, 128 + Math.ceil(memoryMib / 32));

/** Whether there are templates of this machine: a clone's devices, its vsock too, are plugged in after the restore. */
export function canBeCloned(
  hypervisor: Hypervisor["type"],
  { machine, memory }: Pick<VmSpec, "machine" | "memory">,
): boolean {
  if (hypervisor === "cloud-hypervisor" || machine !== "q35") return false;
  // A clone's memory is a copy in a file beside its template: it cannot be backed in another way.
  return !(memory && (memory.hugePages || memory.preallocate || memory.folder !== undefined));
}

/** Failures of a clone that say nothing about its template. */
const NOT_THE_TEMPLATE: readonly ErrorCode[] = [
  "NotFound",
  "ResourceExhausted",
  "Canceled",
  "DeadlineExceeded",
];

/** One clone's account with its template. */
export class TemplateUse {
  readonly #store: TemplateStore;

  constructor(
    directory: string,
    readonly template: Template,
  ) {
    this.#store = new TemplateStore(directory);
  }

  async count(): Promise<void> {
    await this.#store.countUse(this.template);
  }

  /** Whether it was discarded since it was found: what failed for that says nothing of anything. */
  async isGone(): Promise<boolean> {
    return !(await this.#store.has(this.template));
  }

  /** The clone did not come up: a template that may be the reason is not used again. */
  async failed(cause: unknown): Promise<void> {
    if (NOT_THE_TEMPLATE.includes(HullError.from(cause).code) || (await this.isGone())) return;
    await this.#store.discard(this.template.key);
  }
}

/**
 * The template of a machine, made first where there is none or none that may be used. undefined when another process is
 * making one and the settings say not to wait. One that must not be used is told once, by who replaces it.
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
  const found = await look(store, key);
  if ("key" in found) return found;
  const lock = await store.lock(settings.wait, context.deadline);
  if (!lock) {
    context.log("another process is building a template", { key });
    return undefined;
  }
  try {
    const now = await look(store, key);
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

/** Throws ResourceExhausted when the file system of the templates, which holds the clones' memory, has no room. */
export async function requireSpace(directory: string, memoryMib: number): Promise<void> {
  const free = await freeMib(directory);
  if (free < memoryMib) {
    throw resourceExhausted(
      `template: ${directory} has ${free} MiB left, ${memoryMib} are needed; enlarge that file system or set hypervisor.template.template_path`,
    );
  }
}

async function look(store: TemplateStore, key: string): Promise<Template | HullError> {
  try {
    return await store.find(key);
  } catch (thrown) {
    const error = HullError.from(thrown);
    if (error.code === "NotFound" || error.code === "DataLoss") return error;
    throw error;
  }
}
