import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { AgentConnection } from "../../agent/agent-connection.ts";
import { BoundedAgent } from "../../agent/bounded-agent.ts";
import type { Config } from "../../config/schema/schema.ts";
import { allSettled } from "../../core/all-settled.ts";
import { Deadline } from "../../core/deadline.ts";
import { Disposer } from "../../core/disposer.ts";
import { HullError } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { Timeline } from "../../core/timeline.ts";
import { MountApi } from "../../host/mount-api.ts";
import { findProgram } from "../../host/program.ts";
import type { MountView } from "../../host/source.ts";
import { takeVmUser } from "../../host/vm-user.ts";
import { openHypervisor } from "../../hypervisor/open.ts";
import { startPodLocalhost } from "../../network/pod-localhost.ts";
import type { SandboxRequest } from "../../oci/sandbox-request.ts";
import { GUEST_SHARE, SHARE_TAG, SharedTree } from "../../storage/shared-tree.ts";
import { shmSize } from "../../storage/shm-size.ts";
import { startVirtiofsd } from "../../storage/virtiofsd.ts";
import { containerShare } from "../container-share.ts";
import { SandboxDisks } from "../disks.ts";
import { GrowingCapacity } from "../growing-capacity.ts";
import { SandboxNetwork } from "../network.ts";
import { consoleTail, firstLost, unlessLost } from "../part-lost.ts";
import type { Sandbox } from "../sandbox.ts";
import { FixedCapacity } from "../vm-capacity.ts";
import { guestSilence, stoppedParts, watchVm } from "../vm-health.ts";
import type { Health } from "../watchdog.ts";
import { cloneOrBoot } from "./clone-or-boot.ts";
import { enterPodCgroup, podVmSize } from "./placement.ts";
import { startVm } from "./start-vm.ts";
import { vmDevices } from "./vm-device-nodes.ts";
import { VmDirectory } from "./vm-directory.ts";
import { sizingRule, vmGrowth, vmSpec } from "./vm-spec.ts";
import { openVsockBackend } from "./vsock-backend.ts";

export interface BootContext {
  readonly namespace: string;
  readonly id: string;
  /** The pod's folder. */
  readonly directory: string;
  readonly config: Config;
  /** The folder that holds hull's own helpers in libexec/. */
  readonly installation: string;
  readonly ledger: Ledger;
  /** Where the paths that containerd names count. */
  readonly caller: MountView;
  /** Where the steps of the start are noted. */
  readonly timeline: Timeline;
  log(message: string, fields?: Record<string, unknown>): void;
  warn(message: string): void;
  /** Told when a part of the VM has fallen silent, and when all answer again. */
  tellHealth(health: Health): void;
}

/** How long a guest may take to write its data back; the rest of the time for stopping is the host's. */
const SHUTDOWN_LIMIT_MS = 1_500;

/** Boots a pod's VM and makes it the pod's. On failure everything is undone and the cause is told. */
export async function bootSandbox(
  request: SandboxRequest,
  context: BootContext,
  caller: Deadline,
): Promise<Sandbox> {
  const deadline = caller.shorter(context.config.agent.boot_timeout, "boot the VM");
  try {
    return await cloneOrBoot(
      (clone, disposer) => boot(request, context, clone, disposer, deadline),
      context.config.hypervisor.template.enable,
      context.warn,
    );
  } catch (error) {
    throw HullError.wrap("boot the VM", error);
  } finally {
    deadline.dispose();
  }
}

async function boot(
  request: SandboxRequest,
  context: BootContext,
  clone: boolean,
  disposer: Disposer,
  deadline: Deadline,
): Promise<Sandbox> {
  const { config, directory, ledger, namespace, id, timeline } = context;
  const pod = `${namespace}/${id}`;
  const mounts = new MountApi(join(context.installation, "lib/mount-api.node"), context.caller);
  // The VMM waits for it, the small helpers do not: it takes the time of a grace period of the kernel. They follow below.
  const placed = enterPodCgroup(request, context).then((cgroup) => {
    timeline.mark("cgroup entered");
    return cgroup;
  });
  placed.catch(() => undefined); // told below
  disposer.push("cgroup", async (by) => (await placed.catch(() => undefined))?.release(by));
  const kept = new Disposer();
  disposer.push("disks", (by) => kept.dispose(by));
  const [vmm, daemonPath, user] = await allSettled([
    program(context, "path"),
    program(context, "virtio_fs_daemon"),
    vmUser(context, disposer),
  ]);
  const folder = await VmDirectory.create(join(directory, "vm"), user, ledger);
  disposer.push("VM's folder", (by) => folder.remove(by));
  // None of these needs another. A failure waits for the rest, so that the undoing finds all that was made.
  const [cgroup, hypervisor, network, virtiofsd, link, nodes] = await allSettled([
    placed,
    openHypervisor(
      { ...config.hypervisor, path: vmm, installation: context.installation },
      context.warn,
      deadline,
    ).then((opened) => {
      timeline.mark("accelerator known");
      return opened;
    }),
    SandboxNetwork.open(
      {
        pod,
        netns: request.netns,
        ownPath: join(directory, "netns"),
        model: config.runtime.internetworking_model,
        owner: user?.id,
        ledger,
      },
      !config.hypervisor.disable_vhost_net,
      deadline,
    ).then((network) => {
      timeline.mark("network connected");
      disposer.push("network", () => network.release());
      return network;
    }),
    // What the guest shall see of the host; empty so far.
    SharedTree.create(join(directory, "shared"), mounts, deadline).then(async (share) => {
      timeline.mark("shared tree mounted");
      disposer.push("shared tree", (by) => share.dispose(by));
      const daemon = await startVirtiofsd(
        { ...virtiofsdSpec(config), path: daemonPath, directory: folder.path, shared: share.exported, pod },
        ledger,
        deadline,
      );
      timeline.mark("virtiofsd started");
      disposer.push("virtiofsd", (by) => daemon.stop(by));
      return { ...daemon, share };
    }),
    openVsockBackend(
      {
        ...{ directory: folder.path, pod, user, ledger, log: context.log },
        ...{ installation: context.installation, hypervisor: config.hypervisor },
        findDaemon: () => program(context, "vhost_device_vsock"),
      },
      deadline,
    ).then((link) => {
      timeline.mark("vsock listens");
      disposer.push("vsock", (by) => link.close(by));
      return link;
    }),
    vmDevices(config, user, folder.path, ledger, deadline).then((nodes) => {
      if (nodes) {
        timeline.mark("devices made");
        disposer.push("devices", (by) => nodes.dispose(by));
      }
      return nodes;
    }),
  ]);
  const size = podVmSize(request, cgroup, context);
  await folder.seal();
  const spec = vmSpec(config.hypervisor, {
    path: vmm,
    name: pod,
    directory: folder.path,
    user,
    netns: network.netns,
    accel: hypervisor.accel,
    vsock: link.device,
    share: { kind: "share", tag: SHARE_TAG, socket: virtiofsd.socket },
    nics: await network.nics(nodes, deadline),
    size,
    growth: vmGrowth(config),
  });
  const { vm, proving } = await startVm(hypervisor.driver, spec, clone, {
    ...{ deadline, ledger, pod, timeline, settings: config.hypervisor.template },
    ...{ log: context.log, warn: context.warn },
    outsidePod: (step) => (cgroup ? cgroup.outside(step) : step()),
  });
  disposer.push("VM", (by) => vm.stop(by));
  await link.seal();
  await network.remember(vm);
  const forwardToken = randomBytes(16).toString("hex");
  if (request.netns !== undefined) {
    const path = join(context.installation, "libexec/pod-localhost");
    const { netns } = network;
    const helper = await startPodLocalhost(
      { path, pod, netns, user, vsock: link.address, token: forwardToken },
      ledger,
    );
    disposer.push("pod-localhost", (by) => helper.stop(by));
    void helper.exited.then(({ reason, requested }) => {
      if (!requested) context.log("port-forward does not work in this pod", { reason });
    });
  }
  // Without any one of these the guest cannot go on, nor come up.
  const helpers = [...link.processes, virtiofsd.process];
  const partLost = firstLost(vm, helpers);
  const dial = async (port: number, by: Deadline) => {
    const limit = by.shorter(config.agent.dial_timeout, `connect to port ${port} of the guest`);
    return await link.connect(port, limit).finally(() => limit.dispose());
  };
  const agent = await proving((limit) =>
    unlessLost(vm, partLost, async () => {
      const socket = await link.agent(limit);
      timeline.mark("guest: agent called");
      return await BoundedAgent.connect(AgentConnection.connect(socket, dial, limit), {
        requestTimeout: config.agent.request_timeout,
        warn: context.warn,
      });
    }),
  );
  disposer.push("agent connection", async () => agent.close());
  timeline.mark("guest: agent answered");
  context.log("the guest is up", { agent: agent.version, kernel: agent.kernelRelease });
  const starting = unlessLost(vm, partLost, async () =>
    agent.startSandbox(
      {
        hostname: request.hostname,
        shares: [{ tag: SHARE_TAG, target: GUEST_SHARE, readOnly: false }],
        network: network.settings,
        sysctls: request.sysctls,
        shmSize: await shmSize(request.shmSource, mounts),
        maxShareFiles: await virtiofsd.maxFiles(),
        forwardToken,
      },
      deadline,
    ),
  );
  await allSettled([
    starting,
    cgroup?.adopt(helpers.map(({ pid }) => pid)) ?? Promise.resolve(),
    // Its worker is root. It is there since the VMM has connected, and no container runs that could take it over.
    virtiofsd.process.recordForks(deadline),
  ]);
  timeline.mark("guest: sandbox set up");
  const disks = new SandboxDisks(vm, {
    ...{ nodes: user && nodes, mounts, ledger, kept, directory, log: context.log },
  });
  const capacity = spec.growth
    ? new GrowingCapacity(size, {
        ...{ vm, agent, rule: sizingRule(config), log: context.log },
        memoryLimitMib: async () => await cgroup?.currentMemoryLimitMib(),
      })
    : new FixedCapacity(size);
  const watched = { vm, agent, monitor: config.hypervisor.type, helpers };
  const { watchdog, givenUp } = watchVm(watched, config.runtime, context.tellHealth);
  let stopping: Promise<unknown> | undefined;
  const shutDown = (by: Deadline) => {
    watchdog.stop();
    return Promise.all([
      agent
        .shutdown(by.shorter(SHUTDOWN_LIMIT_MS, "the guest's own shutdown"))
        // A guest that does not answer any more has nothing to write back; its VM is ended all the same.
        .catch((error) => context.log("the guest did not shut down by itself", { err: error })),
      // While the guest ends: it takes as long as entering did.
      cgroup?.leave().catch((error) => context.log("leaving the pod's cgroup failed", { err: error })),
    ]);
  };
  const ends = [
    partLost.then(({ reason, words }) => `${reason}${words}`),
    agent.lost.then(({ message }) => `the guest agent is gone: ${message}${consoleTail(vm.console())}`),
    givenUp,
  ];
  return {
    pid: vm.pid,
    agent,
    capacity,
    get health() {
      return watchdog.health;
    },
    share: containerShare(virtiofsd.share),
    plugDisk: (disk, by) => disks.plug(disk, by),
    silence: (by) => guestSilence(watched, by),
    stopped: () => stoppedParts(watched),
    refreshNetwork: (by) => network.refresh(vm, agent, by),
    lost: new Promise((resolve) => {
      for (const end of ends) {
        void end.then((reason) => {
          if (stopping === undefined) resolve(reason);
        });
      }
    }),
    killTimeoutMs: config.runtime.kill_timeout,
    kill: async () => {
      watchdog.stop();
      const now = Deadline.after(0, "kill the VM");
      await vm.stop(now);
      // The daemon of the guest's sockets may be what hangs: the connection need not end with the VM.
      agent.close();
    },
    stop: async (by) => {
      stopping ??= shutDown(by);
      await stopping;
      await disposer.dispose(by);
    },
  };
}

/** The user that the VM's processes run as; undefined = root. */
async function vmUser(context: BootContext, disposer: Disposer) {
  const { rootless, rootless_first_id: first } = context.config.hypervisor;
  if (!rootless) return undefined;
  const user = await takeVmUser(first, context, context.ledger, context.installation);
  disposer.push("VM's user", (by) => user.release(by));
  return user;
}

/** An executable that the configuration names. */
function program(
  { config, installation }: BootContext,
  key: "path" | "virtio_fs_daemon" | "vhost_device_vsock",
) {
  const places = { installation, path: process.env.PATH };
  return findProgram(`hypervisor.${key}`, config.hypervisor[key], places);
}

function virtiofsdSpec({ hypervisor }: Config) {
  return {
    cache: hypervisor.virtio_fs_cache,
    extraArgs: hypervisor.virtio_fs_extra_args,
  };
}
