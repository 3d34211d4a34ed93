import { join } from "node:path";
import { AGENT_PORT, AgentConnection } from "../agent/agent-connection.ts";
import { findProgram } from "../config/program.ts";
import type { Config } from "../config/schema.ts";
import { Deadline } from "../core/deadline.ts";
import { Disposer } from "../core/disposer.ts";
import { HullError, unavailable } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import type { Timeline } from "../core/timeline.ts";
import type { Vm } from "../hypervisor/hypervisor.ts";
import { openHypervisor } from "../hypervisor/open.ts";
import { GUEST_SHARE, SHARE_TAG, SharedDirectory } from "../storage/shared-directory.ts";
import { startVirtiofsd } from "../storage/virtiofsd.ts";
import { dialUntilReady } from "../vsock/dial-until-ready.ts";
import { connect } from "../vsock/hybrid.ts";
import { startVsockDaemon } from "../vsock/vhost-device-vsock.ts";
import { SandboxNetwork } from "./sandbox-network.ts";
import type { ContainerShare, Sandbox, SandboxRequest } from "./sandbox.ts";
import { CloneError, startVm } from "./start-vm.ts";
import { vmSpec } from "./vm-spec.ts";

export interface BootContext {
  readonly namespace: string;
  readonly id: string;
  /** The pod's folder. */
  readonly directory: string;
  readonly config: Config;
  /** The folder that holds hull's own helpers in libexec/. */
  readonly installation: string;
  readonly ledger: Ledger;
  /** Where the steps of the start are noted. */
  readonly timeline: Timeline;
  log(message: string, fields?: Record<string, unknown>): void;
  warn(message: string): void;
}

/** How long freeing a container's mounts may take. */
const RELEASE_LIMIT_MS = 2_000;

/** Boots a pod's VM and makes it the pod's. On failure everything is undone and the cause is told. */
export async function bootSandbox(
  request: SandboxRequest,
  context: BootContext,
  caller: Deadline,
): Promise<Sandbox> {
  const deadline = caller.shorter(context.config.agent.boot_timeout, "boot the VM");
  const attempt = async (clone: boolean) => {
    const disposer = new Disposer();
    try {
      return await boot(request, context, clone, disposer, deadline);
    } catch (error) {
      await disposer.dispose().catch((undo) => context.log("boot: undoing it failed", { err: undo }));
      throw error;
    }
  };
  try {
    return await attempt(context.config.hypervisor.template.enable).catch(async (error: unknown) => {
      if (!(error instanceof CloneError)) throw error;
      context.warn(`${error.message}; the pod is booted without a template`);
      return await attempt(false);
    });
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
  // Teardown has a limit of its own: it must not fail because the boot ran out of time.
  let stopBy = Deadline.after(0);
  const programs = await findPrograms(context);
  const hypervisor = await openHypervisor(
    { ...config.hypervisor, path: programs.vmm },
    context.warn,
    deadline,
  );
  timeline.mark("programs and accelerator known");
  const share = await SharedDirectory.create(join(directory, "shared"), deadline);
  disposer.push("shared directory", () => share.dispose(stopBy));
  timeline.mark("shared directory mounted");
  const [network, virtiofsd, vsock] = await Promise.all([
    SandboxNetwork.open(
      {
        pod,
        netns: request.netns,
        ownPath: join(directory, "netns"),
        model: config.runtime.internetworking_model,
        ledger,
      },
      deadline,
    ).then((network) => {
      timeline.mark("network connected");
      disposer.push("network", () => network.release());
      return network;
    }),
    startVirtiofsd(
      { ...virtiofsdSpec(config), path: programs.virtiofsd, directory, shared: share.path, pod },
      ledger,
      deadline,
    ).then((daemon) => {
      timeline.mark("virtiofsd started");
      disposer.push("virtiofsd", () => daemon.stop(stopBy));
      return daemon;
    }),
    startVsockDaemon({ path: programs.vsock, directory, pod }, ledger, deadline).then((daemon) => {
      timeline.mark("vsock daemon listens");
      disposer.push("vhost-device-vsock", () => daemon.stop(stopBy));
      return daemon;
    }),
  ]);
  const spec = vmSpec(config.hypervisor, {
    path: programs.vmm,
    name: pod,
    directory,
    netns: network.netns,
    accel: hypervisor.accel,
    vsock: { kind: "vhost-user", socket: vsock.vhostUserSocket },
    share: { kind: "share", tag: SHARE_TAG, socket: virtiofsd.socket },
    nics: network.nics,
  });
  const { vm, proving } = await startVm(hypervisor.driver, spec, clone, {
    ...{ deadline, ledger, pod, timeline, settings: config.hypervisor.template },
    ...{ log: context.log, warn: context.warn },
  });
  disposer.push("VM", () => vm.stop(stopBy));
  await network.remember(vm);
  const dial = (port: number, by: Deadline) => connect(vsock.hybridSocket, port, by);
  const agent = await proving((limit) =>
    orVmEnd(vm, async () => {
      const socket = await dialUntilReady(vsock.hybridSocket, AGENT_PORT, limit);
      timeline.mark("guest: agent dialled");
      return await AgentConnection.connect(socket, dial, limit);
    }),
  );
  disposer.push("agent connection", async () => agent.close());
  timeline.mark("guest: agent answered");
  context.log("the guest is up", { agent: agent.version, kernel: agent.kernelRelease });
  await orVmEnd(vm, () =>
    agent.startSandbox(
      {
        hostname: request.hostname,
        shares: [{ tag: SHARE_TAG, target: GUEST_SHARE, readOnly: false }],
        network: network.settings,
        sysctls: request.sysctls,
        sharePidNamespace: request.sharePidNamespace,
        shmSize: 0n,
      },
      deadline,
    ),
  );
  timeline.mark("guest: sandbox set up");
  let stopping: Promise<void> | undefined;
  // Without any one of these the guest cannot go on.
  const ends = [
    vm.exited.then(({ reason, console }) => `${reason}${consoleTail(console)}`),
    agent.lost.then(({ message }) => `the guest agent is gone: ${message}${consoleTail(vm.console())}`),
    virtiofsd.process.exited.then(({ reason }) => reason),
    vsock.process.exited.then(({ reason }) => reason),
  ];
  return {
    pid: vm.pid,
    agent,
    share: containerShare(share),
    refreshNetwork: (by) => network.refresh(vm, agent, by),
    lost: new Promise((resolve) => {
      for (const end of ends) void end.then((reason) => stopping ?? resolve(reason));
    }),
    stop: (by) => {
      stopBy = by;
      stopping ??= agent
        .shutdown(by)
        // A guest that does not answer any more has nothing to write back; its VM is ended all the same.
        .catch((error) => context.log("the guest did not shut down by itself", { err: error }))
        .then(() => disposer.dispose());
      return stopping;
    },
  };
}

/** The executables that the configuration names. */
async function findPrograms({ config, installation }: BootContext) {
  const find = (key: "path" | "virtio_fs_daemon" | "vhost_device_vsock") =>
    findProgram(`hypervisor.${key}`, config.hypervisor[key], { installation, path: process.env.PATH });
  const [vmm, virtiofsd, vsock] = await Promise.all([
    find("path"),
    find("virtio_fs_daemon"),
    find("vhost_device_vsock"),
  ]);
  return { vmm, virtiofsd, vsock };
}

/** Runs `step`; when the VM ends first, its reason is the failure, with the last words of the guest. */
async function orVmEnd<T>(vm: Vm, step: () => Promise<T>): Promise<T> {
  try {
    return await Promise.race([
      step(),
      vm.exited.then(({ reason, console }) => {
        throw unavailable(`${reason} before the guest agent answered${consoleTail(console)}`);
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

const TAIL_LINES = 8;

function consoleTail(console: string): string {
  const lines = console.trimEnd().split("\n").slice(-TAIL_LINES);
  return lines.join("") === "" ? "" : `; the guest's last console lines:\n${lines.join("\n")}`;
}

function virtiofsdSpec({ hypervisor }: Config) {
  return {
    cache: hypervisor.virtio_fs_cache,
    extraArgs: hypervisor.virtio_fs_extra_args,
  };
}

function containerShare(share: SharedDirectory): ContainerShare {
  return {
    add: async (containerId, source, deadline) => {
      const release = async () => {
        const limit = Deadline.after(RELEASE_LIMIT_MS, `free the mounts of container ${containerId}`);
        await share.remove(containerId, limit);
        limit.dispose();
      };
      const bind = { type: "bind", source: source.path, target: "", options: ["rbind"] };
      const mounts = source.mounts.length > 0 ? source.mounts : [bind];
      try {
        const rootfs = await share.addRootfs(containerId, mounts, deadline);
        return {
          rootfs,
          bind: (mount) => share.addBind(containerId, mount.source ?? "", mount.options ?? [], deadline),
          release,
        };
      } catch (error) {
        await release();
        throw error;
      }
    },
  };
}
