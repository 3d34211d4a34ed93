import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { HostProcess } from "../../host/process-launcher.ts";
import type { Vm } from "../../hypervisor/hypervisor.ts";
import { startPodLocalhost } from "../../network/pod-localhost.ts";
import type { VmSize } from "../../resources/sizing.ts";
import { SHARE_TAG } from "../../storage/shared-tree.ts";
import { type ComponentLost, firstLost } from "../component-lost.ts";
import type { Boot } from "./context.ts";
import { podVmSize } from "./placement.ts";
import { type StartedVm, startVm } from "./start-vm.ts";
import type { Surroundings } from "./surroundings.ts";
import { assignablePorts, vmGrowth, vmSpec } from "./vm-spec.ts";

/** A VM whose guest is booting: the result of the second phase of a boot. */
export interface BootingVm {
  readonly vm: Vm;
  readonly proving: StartedVm["proving"];
  readonly size: VmSize;
  /** Whether CPUs and memory can be hot-plugged. */
  readonly grows: boolean;
  /** The helper processes without which it cannot run. */
  readonly helpers: readonly HostProcess[];
  /** Resolves when the VMM or a helper has exited. */
  readonly componentLost: Promise<ComponentLost>;
  /** The secret by which the guest recognizes the port-forward helper. */
  readonly forwardToken: string;
}

/**
 * The second phase of a boot: starts the VM in its surroundings. Rejects with CloneError if its clone fails.
 */
export async function startSandboxVm(
  boot: Boot,
  around: Surroundings,
  start: typeof startVm = startVm,
): Promise<BootingVm> {
  const { request, context, pod, disposer, deadline } = boot;
  const { directory, hypervisor, network, share, vsock, user, cgroup } = around;
  const { config, ledger, timeline, calls, log, warn } = context;
  const size = podVmSize(request, cgroup, context);
  await directory.seal();
  const spec = vmSpec(config.hypervisor, {
    ...{ path: around.vmm, name: pod, directory: directory.path, user, netns: network.netns },
    ...{ accel: hypervisor.accel, vsock: vsock.device, size, growth: vmGrowth(config) },
    share: { kind: "share", tag: SHARE_TAG, socket: share.daemon.socket },
    assignable: await assignablePorts(config.hypervisor),
    nics: await network.nics(around.nodes, deadline),
  });
  const { vm, proving } = await start(hypervisor.driver, spec, boot.clone, {
    ...{ deadline, ledger, pod, timeline, calls, settings: config.hypervisor.template, log, warn },
    outsidePod: (step) => (cgroup ? cgroup.outside(step) : step()),
  });
  disposer.push("VM", (by) => vm.stop(by));
  await vsock.seal();
  await network.remember(vm);
  const forwardToken = randomBytes(16).toString("hex");
  if (request.netns !== undefined) await startPortForward(boot, around, forwardToken);
  const helpers = [...vsock.processes, share.daemon.process];
  const componentLost = firstLost(vm, helpers);
  return { vm, proving, size, grows: spec.growth !== undefined, helpers, componentLost, forwardToken };
}

async function startPortForward(boot: Boot, around: Surroundings, token: string): Promise<void> {
  const { context, pod, disposer } = boot;
  const path = join(context.installation, "libexec/pod-localhost");
  const { network, user, vsock } = around;
  const spec = { path, pod, netns: network.netns, user, vsock: vsock.address, token };
  const helper = await startPodLocalhost(spec, context.ledger);
  disposer.push("pod-localhost", (by) => helper.stop(by));
  void helper.exited.then(({ reason, requested }) => {
    if (!requested) context.log("port-forward does not work in this pod", { reason });
  });
}
