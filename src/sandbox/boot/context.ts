import type { Config } from "../../config/schema/schema.ts";
import type { Deadline } from "../../core/deadline.ts";
import type { Disposer } from "../../core/disposer.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { PendingCalls } from "../../core/pending-calls.ts";
import type { Timeline } from "../../core/timeline.ts";
import type { MountApi } from "../../host/mount-api.ts";
import { findProgram } from "../../host/program.ts";
import type { MountView } from "../../host/source.ts";
import type { SandboxRequest } from "../../oci/sandbox-request.ts";
import type { Health } from "../watchdog.ts";

/** What the shim gives a sandbox. */
export interface BootContext {
  readonly namespace: string;
  readonly id: string;
  /** The pod's directory. */
  readonly directory: string;
  readonly config: Config;
  /** The directory with libexec/ and lib/. */
  readonly installation: string;
  readonly ledger: Ledger;
  /** The view of the host in which containerd's paths are resolved. */
  readonly caller: MountView;
  /** Records when each step of the start was done. */
  readonly timeline: Timeline;
  /** Where calls to the guest's agent and to the VMM are noted while they are under way. */
  readonly calls: PendingCalls;
  log(message: string, fields?: Record<string, unknown>): void;
  info(message: string): void;
  warn(message: string): void;
  /** Called when a component of the VM stops answering, and when all answer again. */
  reportHealth(health: Health): void;
}

/** One attempt to boot a pod's VM, which its phases share. */
export interface Boot {
  readonly request: SandboxRequest;
  readonly context: BootContext;
  /** `<namespace>/<pod>`. */
  readonly pod: string;
  /** Start from a template if there is one or one can be built. */
  readonly clone: boolean;
  readonly mounts: MountApi;
  /** Releases what the phases have created, newest first. */
  readonly disposer: Disposer;
  readonly deadline: Deadline;
}

/** Returns the path of an executable that the configuration names. Throws FailedPrecondition. */
export async function programOf(
  { config, installation }: Pick<BootContext, "config" | "installation">,
  key: "path" | "virtio_fs_daemon" | "vhost_device_vsock",
): Promise<string> {
  const places = { installation, path: process.env.PATH };
  return await findProgram(`hypervisor.${key}`, config.hypervisor[key], places);
}
