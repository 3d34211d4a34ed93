import { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { HostProcess } from "../host/process-launcher.ts";
import { consoleTail } from "../hypervisor/console-tail.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";

/** The exit of a process without which a VM cannot run. */
export interface ComponentLost {
  /** For messages: `virtiofsd was killed by SIGKILL`. */
  readonly reason: string;
  /** The end of the guest's console, as `consoleTail` returns it; empty if the VMM has not exited. */
  readonly console: string;
}

/** Time for a VMM's exit to be seen after that of a helper that exits with it. */
const BEHIND_MS = 2_000;
/**
 * Resolves when the VMM or a helper has exited. A helper exits with its VMM and may be seen to exit first;
 * the VMM's exit is the cause then.
 */
export function firstLost(
  vm: Pick<Vm, "exited">,
  helpers: readonly Pick<HostProcess, "exited">[],
): Promise<ComponentLost> {
  const vmLost = vm.exited.then(({ reason, console }) => ({
    reason,
    console: consoleTail(console),
  }));
  const helperLost = async ({ exited }: Pick<HostProcess, "exited">): Promise<ComponentLost> => {
    const { reason, signal } = await exited;
    const own = { reason, console: "" };
    if (signal !== null) return own; // it was killed
    const what = "waiting for the VMM to exit";
    return await Deadline.within(BEHIND_MS, what, (limit) => limit.race(vmLost)).catch(() => own);
  };
  return Promise.race([vmLost, ...helpers.map(helperLost)]);
}

/** Runs a step of the start. Throws Unavailable if a process of the VM exits first, with its reason. */
export async function unlessLost<T>(
  vm: Pick<Vm, "console">,
  componentLost: Promise<ComponentLost>,
  step: () => Promise<T>,
): Promise<T> {
  try {
    return await Promise.race([
      step(),
      componentLost.then(({ reason, console }) => {
        throw unavailable(`${reason} before the guest agent answered${console}`);
      }),
    ]);
  } catch (error) {
    const failure = HullError.from(error);
    if (failure.code !== "DeadlineExceeded") throw failure;
    throw new HullError(
      failure.code,
      `the guest agent did not answer: ${failure.message}${consoleTail(vm.console())}`,
    );
  }
}
