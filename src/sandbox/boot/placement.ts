import type { Config } from "../../config/schema/schema.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { SandboxRequest } from "../../oci/sandbox-request.ts";
import { hostHierarchies, PodCgroup } from "../../resources/pod-cgroup.ts";
import { fitToCgroup, type VmSize, vmSize } from "../../resources/sizing.ts";
import { sizingRule } from "./vm-spec.ts";

/** What placing and sizing a VM needs. */
interface PlacementContext {
  readonly config: Config;
  readonly ledger: Ledger;
  log(message: string, fields?: Record<string, unknown>): void;
  warn(message: string): void;
}

/**
 * Moves the shim into the pod's cgroup; undefined if the pod has none, or if no hierarchy of the host is
 * writable.
 */
export async function enterPodCgroup(
  { cgroup }: Pick<SandboxRequest, "cgroup">,
  { config, ledger, warn }: PlacementContext,
): Promise<PodCgroup | undefined> {
  if (!config.runtime.sandbox_cgroup_only || cgroup === undefined) return undefined;
  const where = await hostHierarchies();
  if (where.length > 0) return await PodCgroup.enter(cgroup, ledger, where);
  warn("no cgroup hierarchy of the host is writable; the pod's processes stay in containerd's cgroup");
  return undefined;
}

/**
 * Returns the size of the pod's VM by its limits, reduced to fit into its cgroup. Throws FailedPrecondition.
 */
export function podVmSize(
  { limits }: Pick<SandboxRequest, "limits">,
  cgroup: Pick<PodCgroup, "path" | "memoryLimitMib"> | undefined,
  { config, log, warn }: PlacementContext,
): VmSize {
  const rule = sizingRule(config);
  const wanted = vmSize(limits, rule);
  const room = cgroup?.memoryLimitMib;
  const size = room === undefined ? wanted : fitToCgroup(wanted, room, rule);
  if (size !== wanted) {
    const given = `the VM gets ${size.memoryMib} MiB instead of ${wanted.memoryMib}`;
    const cause = `cgroup ${cgroup?.path} is limited to ${room} MiB, ${rule.hostOverhead} of them for its processes`;
    warn(`${given}: ${cause}; set the overhead in the RuntimeClass (docs/resources.md)`);
  }
  log("sized the VM", { ...size, limits, room });
  return size;
}
