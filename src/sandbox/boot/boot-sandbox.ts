import { join } from "node:path";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { MountApi } from "../../host/mount-api.ts";
import type { SandboxRequest } from "../../oci/sandbox-request.ts";
import { RunningSandbox } from "../running-sandbox.ts";
import type { Sandbox } from "../sandbox.ts";
import { startAgent } from "./agent.ts";
import { cloneOrBoot } from "./clone-or-boot.ts";
import type { Boot, BootContext } from "./context.ts";
import { prepareSurroundings } from "./surroundings.ts";
import { startSandboxVm } from "./vm.ts";

/**
 * Boots a pod's VM and sets it up for the pod. On a failure, undoes everything and rejects with the cause.
 */
export async function bootSandbox(
  request: SandboxRequest,
  context: BootContext,
  caller: Deadline,
): Promise<Sandbox> {
  const { config, namespace, id } = context;
  const deadline = caller.shorter(config.agent.boot_timeout, "boot the VM");
  try {
    const mounts = new MountApi(join(context.installation, "lib/mount-api.node"), context.caller);
    return await cloneOrBoot(
      (clone, disposer) =>
        boot({ request, context, pod: `${namespace}/${id}`, clone, mounts, disposer, deadline }),
      config.hypervisor.template.enable,
      context.warn,
    );
  } catch (error) {
    throw HullError.wrap("boot the VM", error);
  } finally {
    deadline.dispose();
  }
}

async function boot(attempt: Boot): Promise<Sandbox> {
  const surroundings = await prepareSurroundings(attempt);
  const booting = await startSandboxVm(attempt, surroundings);
  const agent = await startAgent(attempt, surroundings, booting);
  const sandbox = new RunningSandbox(attempt, surroundings, booting, agent);
  // Not before the guest runs: until then, a failure must not cost the pod its interfaces.
  if (surroundings.network.pending) await sandbox.refreshNetwork(attempt.deadline);
  return sandbox;
}
