import { join } from "node:path";
import type { DeviceNodes } from "../../host/device-nodes.ts";
import { takeVmUser, type VmUser } from "../../host/vm-user.ts";
import { type OpenHypervisor, openHypervisor } from "../../hypervisor/open.ts";
import type { PodCgroup } from "../../resources/pod-cgroup.ts";
import { SharedTree } from "../../storage/shared-tree.ts";
import { startVirtiofsd, type Virtiofsd } from "../../storage/virtiofsd.ts";
import { GIVE_BACK_MS, SandboxNetwork } from "../network.ts";
import { type Boot, programOf } from "./context.ts";
import { enterPodCgroup } from "./placement.ts";
import { vmDevices } from "./vm-device-nodes.ts";
import { VmDirectory } from "./vm-directory.ts";
import { openVsockBackend, type VsockBackend } from "./vsock-backend.ts";

/** What the guest sees of the host: the shared tree and the virtiofsd that serves it. */
export interface SandboxShare {
  readonly tree: SharedTree;
  readonly daemon: Virtiofsd;
}

/**
 * Creates the components of a VM's surroundings. Each function records what it creates in the ledger first
 * and pushes its release to the disposer. They depend on each other only by their arguments.
 */
export const PARTS = {
  /** Moves the shim into the pod's cgroup. */
  async cgroup({ request, context }: Boot): Promise<PodCgroup | undefined> {
    const cgroup = await enterPodCgroup(request, context);
    context.timeline.mark("cgroup entered");
    return cgroup;
  },

  /** Reserves the VM user; undefined = root. */
  async user({ context, disposer }: Boot): Promise<VmUser | undefined> {
    const { rootless, rootless_first_id: first } = context.config.hypervisor;
    if (!rootless) return undefined;
    const user = await takeVmUser(first, context, context.ledger, context.installation);
    disposer.push("VM's user", (by) => user.release(by));
    return user;
  },

  /** Creates the directory of the VM's sockets. */
  async directory({ context, disposer }: Boot, user: VmUser | undefined): Promise<VmDirectory> {
    const directory = await VmDirectory.create(join(context.directory, "vm"), user, context.ledger);
    disposer.push("VM's directory", (by) => directory.remove(by));
    return directory;
  },

  /** Opens the hypervisor's driver and detects the accelerator. */
  async hypervisor({ context, deadline }: Boot, path: string): Promise<OpenHypervisor> {
    const { config, installation, timeline } = context;
    const choice = { ...config.hypervisor, path, installation };
    const opened = await openHypervisor(choice, context, deadline);
    timeline.mark("accelerator known");
    return opened;
  },

  /** Creates a tap for each interface of the pod's network namespace. */
  async network(boot: Boot, user: VmUser | undefined): Promise<SandboxNetwork> {
    const { request, context, pod, disposer, deadline } = boot;
    const { config, directory, ledger } = context;
    const network = await SandboxNetwork.open(
      {
        ...{ pod, netns: request.netns, ownPath: join(directory, "netns"), owner: user?.id, ledger },
        model: config.runtime.internetworking_model,
        assignPhysical: config.runtime.physical_nics === "assign",
      },
      !config.hypervisor.disable_vhost_net,
      deadline,
    );
    context.timeline.mark("network connected");
    disposer.push("network", () => network.release(), GIVE_BACK_MS);
    return network;
  },

  /** Creates the still empty shared tree and starts virtiofsd. */
  async share(boot: Boot, program: string, directory: VmDirectory): Promise<SandboxShare> {
    const { context, pod, mounts, disposer, deadline } = boot;
    const { hypervisor } = context.config;
    const tree = await SharedTree.create(join(context.directory, "shared"), mounts, deadline);
    context.timeline.mark("shared tree mounted");
    disposer.push("shared tree", (by) => tree.dispose(by));
    const daemon = await startVirtiofsd(
      {
        ...{ path: program, directory: directory.path, shared: tree.exported, pod },
        cache: hypervisor.virtio_fs_cache,
        extraArgs: hypervisor.virtio_fs_extra_args,
      },
      context.ledger,
      deadline,
    );
    context.timeline.mark("virtiofsd started");
    disposer.push("virtiofsd", (by) => daemon.stop(by));
    return { tree, daemon };
  },

  /** Opens the host's side of the VM's vsock. */
  async vsock(boot: Boot, user: VmUser | undefined, { path }: VmDirectory): Promise<VsockBackend> {
    const { context, pod, disposer, deadline } = boot;
    const { installation, config, ledger, log } = context;
    const vsock = await openVsockBackend(
      {
        ...{ directory: path, pod, user, ledger, log, installation, hypervisor: config.hypervisor },
        findDaemon: () => programOf(context, "vhost_device_vsock"),
      },
      deadline,
    );
    context.timeline.mark("vsock listens");
    disposer.push("vsock", (by) => vsock.close(by));
    return vsock;
  },

  /**
   * Creates nodes of the host's devices that the VM user cannot open otherwise; undefined if there are none.
   */
  async nodes(boot: Boot, user: VmUser | undefined, { path }: VmDirectory): Promise<DeviceNodes | undefined> {
    const { context, disposer, deadline } = boot;
    const nodes = await vmDevices(context.config, user, path, context.ledger, deadline);
    if (!nodes) return undefined;
    context.timeline.mark("device nodes created");
    disposer.push("devices", (by) => nodes.dispose(by));
    return nodes;
  },
} as const;

/** The type of `PARTS`, for fakes. */
export type Parts = typeof PARTS;
