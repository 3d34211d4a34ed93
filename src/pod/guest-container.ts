import { isAbsolute, resolve } from "node:path";
import type { GuestBlockDevice } from "../agent/guest-agent.ts";
import { allSettled } from "../core/all-settled.ts";
import { Deadline } from "../core/deadline.ts";
import { invalidArgument } from "../core/errors.ts";
import type { Timeline } from "../core/timeline.ts";
import { guestDevices } from "../oci/guest-devices.ts";
import { guestSpec } from "../oci/guest-spec.ts";
import type { RootfsSource } from "../oci/rootfs.ts";
import type { PodFile } from "../oci/sandbox-request.ts";
import type { OciSpec } from "../oci/spec.ts";
import { ContainerHost } from "../sandbox/container-host.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { GuestInit, ignoreGone } from "./guest-process.ts";
import type { ProcessIo } from "./stdio.ts";

/** How long deleting a container in the guest may take when its creation is undone. */
const UNDO_LIMIT_MS = 2_500;

/** What a container is created from. */
export interface ContainerSource {
  readonly bundle: string;
  readonly spec: OciSpec;
  /** containerd's mounts for the root file system. */
  readonly rootfs: RootfsSource["mounts"];
  /** Files of the pod that the container gets unless it has mounts of its own there. */
  readonly podFiles: readonly PodFile[];
  /** The host's path of the pod's shared memory. */
  readonly podShm: string | undefined;
}

/** Log and timeline of a creation. */
export interface CreationLog {
  log(message: string, fields?: Record<string, unknown>): void;
  readonly timeline?: Timeline | undefined;
}

/** The two halves of a container: what it has on the host, and what runs in the guest. */
export class GuestContainer {
  readonly host: ContainerHost;
  readonly runner: GuestInit;
  readonly #sandbox: Sandbox;
  readonly #id: string;
  #mayExist = false;

  constructor(sandbox: Sandbox, id: string) {
    this.#sandbox = sandbox;
    this.#id = id;
    this.host = new ContainerHost(sandbox, id);
    this.runner = new GuestInit(sandbox.agent, { containerId: id, execId: "" });
  }

  /** Creates the half on the host, then the one in the guest. `undo` releases what a failure leaves. */
  async create(source: ContainerSource, io: ProcessIo, { log, timeline }: CreationLog, deadline: Deadline) {
    const { host } = this;
    const { spec, disks, groups, ownDevices } = guestDevices(source.spec);
    this.#mayExist = true;
    await host.prepare(rootfsSource(source), log, deadline);
    timeline?.mark("root file system mounted");
    const adjusted = await guestSpec(spec, {
      containerId: this.#id,
      rootfs: host.rootfs,
      vcpus: this.#sandbox.capacity.size.vcpus,
      share: (mount) => host.bind(mount),
      podFiles: source.podFiles,
      podShm: source.podShm,
    });
    timeline?.mark("volumes mounted");
    const blockDevices: GuestBlockDevice[] = [];
    for (const disk of disks) blockDevices.push(await host.plug(disk, deadline));
    const pciDevices: string[] = [];
    for (const group of groups) pciDevices.push(...(await host.assign(group, deadline)));
    const moduleDirectory = groups.length + ownDevices.length > 0 ? await host.shareModules() : undefined;
    const devices = { blockDevices, pciDevices, ownDevices, moduleDirectory, rootDisk: host.rootDisk };
    await this.runner.create(adjusted, io, devices, deadline);
    timeline?.mark("guest: container created");
    deadline.check();
  }

  /** Deletes both halves. The one on the host is released even if the guest does not answer. Idempotent. */
  async undo(): Promise<void> {
    if (!this.#mayExist) return;
    await Deadline.within(UNDO_LIMIT_MS, "delete it in the guest", async (limit) => {
      const deleted = this.runner.delete(limit).catch(ignoreGone);
      const released = deleted.catch(() => undefined).then(() => this.host.release());
      await allSettled([deleted, released]);
    });
  }
}

function rootfsSource({ spec, bundle, rootfs }: ContainerSource): RootfsSource {
  const path = spec.root?.path ?? "rootfs";
  if (path.includes("\0")) throw invalidArgument("`root.path` contains a NUL byte");
  return {
    mounts: rootfs,
    path: isAbsolute(path) ? path : resolve(bundle, path),
    readOnly: spec.root?.readonly ?? false,
  };
}
