import { AgentConnection } from "../../agent/agent-connection.ts";
import { BoundedAgent } from "../../agent/bounded-agent.ts";
import type { GuestAgent } from "../../agent/guest-agent.ts";
import { allSettled } from "../../core/all-settled.ts";
import type { Deadline } from "../../core/deadline.ts";
import { GUEST_SHARE, SHARE_TAG } from "../../storage/shared-tree.ts";
import { shmSize } from "../../storage/shm-size.ts";
import { unlessLost } from "../component-lost.ts";
import type { Boot } from "./context.ts";
import type { Surroundings } from "./surroundings.ts";
import type { BootingVm } from "./vm.ts";

/** Connects to the agent of a booting guest. */
type Connect = (boot: Boot, around: Surroundings, deadline: Deadline) => Promise<GuestAgent>;

const connectAgent: Connect = async ({ context }, { vsock }, deadline) => {
  const { dial_timeout: dialTimeout, request_timeout: requestTimeout } = context.config.agent;
  const socket = await vsock.agent(deadline);
  context.timeline.mark("guest: agent called");
  const dial = async (port: number, by: Deadline) => {
    const limit = by.shorter(dialTimeout, `connect to port ${port} of the guest`);
    return await vsock.connect(port, limit).finally(() => limit.dispose());
  };
  const connecting = AgentConnection.connect(socket, dial, deadline);
  return await BoundedAgent.connect(connecting, {
    requestTimeout,
    warn: context.warn,
    calls: context.calls,
  });
};

/** The third phase of a boot: waits for the agent, and lets it set up the sandbox. */
export async function startAgent(
  boot: Boot,
  around: Surroundings,
  booting: BootingVm,
  connect: Connect = connectAgent,
): Promise<GuestAgent> {
  const { context, disposer, deadline } = boot;
  const { vm, helpers, componentLost, proving } = booting;
  const agent = await proving((limit) =>
    unlessLost(vm, componentLost, async () => await connect(boot, around, limit)),
  );
  disposer.push("agent connection", async () => agent.close());
  context.timeline.mark("guest: agent answered");
  context.log("the guest is up", { agent: agent.version, kernel: agent.kernelRelease });
  const { cgroup, share } = around;
  await allSettled([
    unlessLost(vm, componentLost, async () => await setUpSandbox(boot, around, booting, agent)),
    cgroup?.adopt(helpers.map(({ pid }) => pid)) ?? Promise.resolve(),
    // virtiofsd's worker is root. It exists since the VMM connected, and no container runs yet that could
    // compromise it.
    share.daemon.process.recordForks(deadline),
  ]);
  context.timeline.mark("guest: sandbox set up");
  return agent;
}

async function setUpSandbox(
  { request, mounts, deadline }: Boot,
  { network, share }: Surroundings,
  { forwardToken }: BootingVm,
  agent: GuestAgent,
): Promise<void> {
  await agent.startSandbox(
    {
      hostname: request.hostname,
      shares: [{ tag: SHARE_TAG, target: GUEST_SHARE, readOnly: false }],
      network: network.settings,
      sysctls: request.sysctls,
      shmSize: await shmSize(request.shmSource, mounts),
      maxShareFiles: await share.daemon.maxFiles(),
      forwardToken,
    },
    deadline,
  );
}
