import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import type { Timeline } from "../../core/timeline.ts";
import { undo } from "../../core/undo.ts";
import type { HotplugDevice, Hypervisor, Vm, VmContext, VmSpec } from "../../hypervisor/hypervisor.ts";
import type { Template } from "../../template/store.ts";
import { canBeCloned, obtainTemplate, requireSpace, TemplateUse } from "../../template/template.ts";

/** Timeout of a clone from its start to the agent's answer, which leaves time for a cold boot. */
const CLONE_LIMIT_MS = 15_000;

/** What starting a VM needs besides its spec. */
interface StartContext extends VmContext {
  readonly settings: Config["hypervisor"]["template"];
  readonly timeline: Timeline;
  warn(message: string): void;
  /** Runs a step for other pods, too, outside this pod's cgroup. */
  outsidePod?<T>(step: () => Promise<T>): Promise<T>;
}

/** A clone that did not come up. The pod can still be booted without a template. */
export class CloneError extends HullError {
  constructor(cause: unknown) {
    const { code, message } = HullError.from(cause);
    // To containerd, NotFound would mean the container, not a missing template.
    super(code === "NotFound" ? "Unavailable" : code, `start from a template: ${message}`, { cause });
  }
}

/** A VM that has been started, as a clone or by a boot. */
export interface StartedVm {
  readonly vm: Vm;
  /** Runs, once, the step that proves a clone to work; if it fails, rejects with CloneError. */
  proving<T>(step: (deadline: Deadline) => Promise<T>): Promise<T>;
}

/**
 * Starts a pod's VM: as a clone if `clone` is set and a template exists or can be built, else by a boot, with
 * a warning if building the template failed. Rejects with CloneError if the clone fails.
 */
export async function startVm(
  driver: Hypervisor,
  spec: VmSpec,
  clone: boolean,
  context: StartContext,
): Promise<StartedVm> {
  const { deadline, settings, timeline } = context;
  const template =
    clone && canBeCloned(driver.type, spec) && spec.vsock?.kind !== "hybrid"
      ? await obtainTemplate(driver, spec, settings, context).catch((error: unknown) => {
          if (deadline.reason) throw error; // no time for a boot; the error says how far the guest got
          context.warn(`${HullError.from(error).message}; the pod is booted without a template`);
          return undefined;
        })
      : undefined;
  if (!template) return await bootVm(driver, spec, context);
  timeline.mark("template found");
  const use = new TemplateUse(settings.template_path, template);
  const limit = deadline.shorter(CLONE_LIMIT_MS, "start from a template");
  const attempt = async <T>(step: (by: Deadline) => Promise<T>): Promise<T> => {
    try {
      return await step(limit);
    } catch (thrown) {
      limit.dispose();
      deadline.check(); // rethrow if it was the caller's deadline, not the clone's
      await use.failed(thrown);
      throw new CloneError(thrown);
    }
  };
  // Another process may discard the template until it is opened; nothing has been started by then.
  const vm = await attempt((by) =>
    cloneVm(driver, template, spec, { ...context, deadline: by }).catch(async (error: unknown) => {
      if (HullError.from(error).code === "NotFound" && (await use.isGone())) return undefined;
      throw error;
    }),
  );
  if (!vm) {
    limit.dispose();
    context.log("the template was discarded before it was opened; the pod is booted", { key: template.key });
    return await bootVm(driver, spec, context);
  }
  const proving = async <T>(step: (by: Deadline) => Promise<T>): Promise<T> => {
    const result = await attempt(step);
    limit.dispose();
    // The pod runs, so a failure to count it is only logged.
    await use.count().catch((error) => context.log("a use of the template was not counted", { err: error }));
    return result;
  };
  return { vm, proving };
}

async function bootVm(driver: Hypervisor, spec: VmSpec, context: StartContext): Promise<StartedVm> {
  const vm = await driver.boot(spec, context);
  context.timeline.mark("VMM runs the guest");
  return { vm, proving: (step) => step(context.deadline) };
}

async function cloneVm(
  driver: Hypervisor,
  template: Template,
  spec: VmSpec,
  context: StartContext,
): Promise<Vm> {
  const { deadline, settings, timeline } = context;
  await requireSpace(settings.template_path, spec.memoryMib);
  const vm = await driver.restore(template.path, spec, context);
  try {
    timeline.mark("clone restored");
    for (const device of podDevices(spec)) await vm.plug(device, deadline);
    await vm.resume(deadline);
    timeline.mark("clone runs with the pod's devices");
    return vm;
  } catch (thrown) {
    throw await undo(thrown, () => vm.stop(deadline.shorter(0)));
  }
}

/**
 * The vsock device comes last. The guest finds devices in this order, and once the agent has found vsock, it is asked to mount the
 * share.
 */
function podDevices(spec: VmSpec): HotplugDevice[] {
  const vsock = spec.vsock && spec.vsock.kind !== "hybrid" ? [spec.vsock] : [];
  return [...spec.shares, ...spec.nics, ...spec.disks, ...vsock];
}
