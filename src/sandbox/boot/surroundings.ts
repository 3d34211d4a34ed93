import { allSettled } from "../../core/all-settled.ts";
import { Disposer } from "../../core/disposer.ts";
import type { DeviceNodes } from "../../host/device-nodes.ts";
import type { VmUser } from "../../host/vm-user.ts";
import type { OpenHypervisor } from "../../hypervisor/open.ts";
import type { PodCgroup } from "../../resources/pod-cgroup.ts";
import type { SandboxNetwork } from "../network.ts";
import { type Boot, programOf } from "./context.ts";
import { PARTS, type Parts, type SandboxShare } from "./parts.ts";
import type { VmDirectory } from "./vm-directory.ts";
import type { VsockBackend } from "./vsock-backend.ts";

/** What a pod's VM needs on the host before it starts: the result of the first phase of a boot. */
export interface Surroundings {
  /** The VMM's executable. */
  readonly vmm: string;
  readonly user: VmUser | undefined;
  readonly directory: VmDirectory;
  readonly cgroup: PodCgroup | undefined;
  readonly hypervisor: OpenHypervisor;
  readonly network: SandboxNetwork;
  readonly share: SandboxShare;
  readonly vsock: VsockBackend;
  readonly nodes: DeviceNodes | undefined;
  /** Disks that the VM keeps open until it exits; released after it. */
  readonly kept: Disposer;
}

/**
 * Creates all that the VM needs on the host. Rejects only when no step is pending, so the disposer has
 * everything.
 */
export async function prepareSurroundings(boot: Boot, parts: Parts = PARTS): Promise<Surroundings> {
  const { context, disposer } = boot;
  const vmm = await programOf(context, "path");
  // Before the cgroup: its limits must not slow down or end a probe of KVM, whose answer counts for all pods.
  const hypervisor = await parts.hypervisor(boot, vmm);
  // Entering takes an RCU grace period, so it runs concurrently: the VMM starts inside, small helpers move in
  // later.
  const entering = parts.cgroup(boot);
  const entered = entering.catch(() => undefined); // thrown below
  disposer.push("cgroup", async (by) => (await entered)?.release(by));
  const kept = new Disposer();
  disposer.push("disks", (by) => kept.dispose(by));
  const [virtiofsd, user] = await allSettled([programOf(context, "virtio_fs_daemon"), parts.user(boot)]);
  const directory = await parts.directory(boot, user);
  const [cgroup, network, share, vsock, nodes] = await allSettled([
    entering,
    parts.network(boot, user),
    parts.share(boot, virtiofsd, directory),
    parts.vsock(boot, user, directory),
    parts.nodes(boot, user, directory),
  ]);
  return { vmm, user, directory, cgroup, hypervisor, network, share, vsock, nodes, kept };
}
