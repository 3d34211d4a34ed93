import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { failedPrecondition, HullError } from "../../core/errors.ts";
import { PathAccess } from "../../host/path-access.ts";
import { lastLines } from "../../host/ring-buffer.ts";
import { accessibleSpec } from "../accessible-spec.ts";
import { consoleTail } from "../console-tail.ts";
import { checkGuestImage } from "../guest-image.ts";
import type { Hypervisor, VmContext, VmSpec } from "../hypervisor.ts";
import { ApiClient } from "./api-client.ts";
import { layOutClone } from "./template.ts";
import { CloudHypervisorVm } from "./vm.ts";
import { vmConfig } from "./vm-config.ts";
import { OWN_FDS, Vmm } from "./vmm.ts";

/** Runs VMs with Cloud Hypervisor (https://www.cloudhypervisor.org), driven over its HTTP API. Needs KVM. */
export class CloudHypervisor implements Hypervisor {
  readonly type = "cloud-hypervisor";

  async boot(spec: VmSpec, context: VmContext): Promise<CloudHypervisorVm> {
    vmConfig(spec); // refuses an unsupported spec before anything is created
    await checkGuestImage(spec).catch((error: unknown) => {
      throw HullError.wrap(`VM ${spec.name}: boot`, error);
    });
    const access = new PathAccess(spec.user, OWN_FDS.first + OWN_FDS.count);
    try {
      await mkdir(spec.directory, { recursive: true, mode: 0o700 });
      const config = vmConfig(await accessibleSpec(spec, access));
      return await this.#start(spec, context, access, "running", async (client) => {
        await client.create(config, context.deadline);
        await client.boot(context.deadline);
      });
    } finally {
      await access.close();
    }
  }

  /**
   * Clones the VM that was saved in the directory `template`, as `Hypervisor.restore` describes. Rejects with
   * FailedPrecondition if the spec has a user, because an unprivileged VMM cannot open templates, which belong to root.
   */
  async restore(template: string, spec: VmSpec, context: VmContext): Promise<CloudHypervisorVm> {
    if (spec.user) {
      throw failedPrecondition(
        `VM ${spec.name}: restore: cloud-hypervisor opens templates as root only; set hypervisor.rootless: false`,
      );
    }
    const directory = join(spec.directory, "clh-restore");
    const entry = await context.ledger.record({ kind: "directory", path: directory });
    try {
      await layOutClone(template, directory, spec);
      const access = new PathAccess(undefined, 0);
      return await this.#start(spec, context, access, "paused", async (client) => {
        await client.restore({ source_url: `file://${directory}` }, context.deadline);
      });
    } finally {
      await rm(directory, { recursive: true, force: true });
      await entry.forget();
    }
  }

  async #start(
    spec: VmSpec,
    context: VmContext,
    access: PathAccess,
    state: "running" | "paused",
    bringUp: (client: ApiClient) => Promise<void>,
  ): Promise<CloudHypervisorVm> {
    context.deadline.check();
    const vmm = await Vmm.start(spec, context, access.fds);
    const client = new ApiClient(vmm.socketPath, context.calls);
    void vmm.exited.then(() => client.close());
    try {
      const { version } = await client.ping(context.deadline);
      context.log("cloud-hypervisor answers", { version, pid: vmm.pid });
      await bringUp(client);
      return new CloudHypervisorVm(spec.name, vmm, client, access, state, context.log);
    } catch (error) {
      throw await this.#failed(spec, vmm, error);
    }
  }

  /** Kills the VMM and returns the error with its cause, remedy, stderr and console. */
  async #failed(spec: VmSpec, vmm: Vmm, error: unknown): Promise<HullError> {
    const ended = HullError.from(error).code === "Unavailable" ? await vmm.exitWithin(1000) : undefined;
    await vmm.kill("boot failed");
    const { stderr, console } = await vmm.exited;
    const failure = ended ? ended.reason : HullError.from(error).message;
    const parts = [
      `${failure}${adviceFor(`${failure}\n${stderr}`, spec)}`,
      stderr && `last lines of cloud-hypervisor's stderr: ${lastLines(stderr, 3)}`,
    ];
    const code = ended ? "Unavailable" : HullError.from(error).code;
    const message = `${parts.filter(Boolean).join("; ")}${consoleTail(console, 3)}`;
    return new HullError(code, `VM ${spec.name}: boot: ${message}`, { cause: error });
  }
}

/** Returns the remedy for a failed start according to the VMM's messages, with a leading `; `; empty if none is known. */
function adviceFor(messages: string, { user }: VmSpec): string {
  if (!user || !/Permission denied|Operation not permitted/.test(messages)) return "";
  return `; cloud-hypervisor runs as user ${user.id}, which lacks the permission: see hypervisor.rootless`;
}
