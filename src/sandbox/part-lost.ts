import { Deadline } from "../core/deadline.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { HostProcess } from "../host/process-launcher.ts";
import { consoleTail } from "../hypervisor/console-tail.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";

/** The end of a part that a VM does not run without. */
export interface PartLost {
  /** One sentence: `virtiofsd was killed by SIGKILL`. */
  readonly reason: string;
  /** The guest's last words; empty where it is not the VM that ended. */
  readonly console: string;
}

/** How long a VMM may take to end behind a helper that ends with it. */
const BEHIND_MS = 2_000;
/**
 * Resolves when the VM or one of its helpers has ended. A helper whose VMM goes away ends by itself, and may be seen to
 * end first: the VMM's end is the cause then.
 */
export function firstLost(
  vm: Pick<Vm, "exited">,
  helpers: readonly Pick<HostProcess, "exited">[],
): Promise<PartLost> {
  const vmLost = vm.exited.then(({ reason, console }) => ({
    reason,
    console: consoleTail(console),
  }));
  const helperLost = async ({ exited }: Pick<HostProcess, "exited">): Promise<PartLost> => {
    const { reason, signal } = await exited;
    const own = { reason, console: "" };
    if (signal !== null) return own; // somebody has ended it
    const what = "waiting for the VMM to exit";
    return await Deadline.within(BEHIND_MS, what, (limit) => limit.race(vmLost)).catch(() => own);
  };
  return Promise.race([vmLost, ...helpers.map(helperLost)]);
}

/** Runs `step` of a start; when a part of the VM ends first, that is the failure. */
export async function unlessLost<T>(
  vm: Pick<Vm, "console">,
  partLost: Promise<PartLost>,
  step: () => Promise<T>,
): Promise<T> {
  try {
    return await Promise.race([
      step(),
      partLost.then(({ reason, console }) => {
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
