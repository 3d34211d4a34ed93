import { join } from "node:path";
import { Deadline } from "../../core/deadline.ts";
import { Disposer } from "../../core/disposer.ts";
import { HullError, internal } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import { undo } from "../../core/undo.ts";
import { listeningSocket } from "../../host/listening-socket.ts";
import { type HostProcess, launch, type ProcessExit } from "../../host/process-launcher.ts";
import { removeAll } from "../../host/remove-tree.ts";
import { RingBuffer } from "../../host/ring-buffer.ts";
import type { VmContext, VmExit, VmSpec } from "../hypervisor.ts";
import { EventDecoder, type VmmEvent } from "./event-monitor.ts";

/** The descriptors that every VMM inherits: the listening API socket, and the event stream. */
export const OWN_FDS = { first: 3, count: 2 } as const;

/** A Cloud Hypervisor process with its sockets, console, events and exit. */
export class Vmm {
  readonly pid: number;
  /** Resolves when the process has exited and everything that was recorded for it is released. */
  readonly exited: Promise<VmExit>;
  readonly #listeners = new Set<(event: VmmEvent) => void>();
  /** Why the guest ended, according to the VMM. */
  #cause: string | undefined;
  #requested = false;

  private constructor(
    readonly process: HostProcess,
    readonly socketPath: string,
    readonly ring: RingBuffer,
    cleanup: Disposer,
    readonly log: VmContext["log"],
  ) {
    this.pid = process.pid;
    this.#watchEvents(process);
    this.exited = process.exited.then(async (exit) => {
      await cleanup
        .dispose()
        .catch((error: unknown) => log("cloud-hypervisor: cleanup failed", { error: String(error) }));
      return {
        reason: this.#reason(exit),
        requested: this.#requested,
        console: this.console(),
        stderr: exit.stderr,
      };
    });
  }

  /**
   * Starts the process in the pod's network namespace as the spec's user. Calls may be made at once, because the process
   * inherits the listening API socket `clh.sock`. It also inherits `fds`, from the number behind `OWN_FDS` on.
   */
  static async start(spec: VmSpec, context: VmContext, fds: readonly number[]): Promise<Vmm> {
    const socketPath = join(spec.directory, "clh.sock");
    const cleanup = new Disposer();
    const ring = new RingBuffer();
    try {
      await recordSocket(context.ledger, socketPath, cleanup);
      if (spec.vsock?.kind === "hybrid") await recordSocket(context.ledger, spec.vsock.socket, cleanup);
      const api = await listeningSocket(socketPath);
      cleanup.push("API socket", async () => api.release());
      const argv: [string, ...string[]] = [spec.path, "--api-socket", "fd=3", "--event-monitor", "fd=4"];
      argv.push("--seccomp", String(spec.seccomp ?? true), ...spec.extraArgs);
      const process = await launch(
        {
          role: "cloud-hypervisor",
          argv,
          pod: context.pod,
          netns: spec.netns,
          user: spec.user,
          fds: [api.fd, "channel", ...fds],
          onStdout: (data) => {
            ring.write(data);
            context.onConsole?.(data);
          },
        },
        context.ledger,
      );
      api.release();
      return new Vmm(process, socketPath, ring, cleanup, context.log);
    } catch (error) {
      throw await undo(error, (by) => cleanup.dispose(by));
    }
  }

  /** Returns the last 64 KiB that the guest wrote to its serial port. */
  console(): string {
    return this.ring.text();
  }

  /** Returns the next event that `matches`. Rejects when the deadline ends or the process exits. */
  async event(matches: (event: VmmEvent) => boolean, deadline: Deadline): Promise<VmmEvent> {
    let listener: ((event: VmmEvent) => void) | undefined;
    const seen = new Promise<VmmEvent>((resolve, reject) => {
      listener = (event) => matches(event) && resolve(event);
      this.#listeners.add(listener);
      this.exited.then((exit) => reject(new HullError("Unavailable", exit.reason)), reject);
    });
    try {
      return await deadline.race(seen);
    } finally {
      if (listener) this.#listeners.delete(listener);
    }
  }

  /** Returns the exit if the process exits within `ms` milliseconds. */
  async exitWithin(ms: number): Promise<VmExit | undefined> {
    const what = "waiting for cloud-hypervisor to exit";
    return await Deadline.within(ms, what, (limit) => limit.race(this.exited)).catch(() => undefined);
  }

  /** Calls `shutdown`, and kills the process if it has not exited at the deadline. The exit counts as requested. */
  async stop(deadline: Deadline, shutdown: () => Promise<unknown>): Promise<void> {
    this.#requested = true;
    await this.process.stop(deadline, shutdown);
    await this.exited;
  }

  /** Kills the process. `cause` becomes the reason of its exit unless there is one already. */
  async kill(cause: string): Promise<void> {
    this.#cause ??= cause;
    const now = Deadline.none();
    now.cancel();
    await this.process.stop(now);
    await this.exited;
  }

  #watchEvents({ channel }: HostProcess): void {
    if (!channel) throw internal("cloud-hypervisor: started without an event stream");
    const decoder = new EventDecoder();
    channel.setEncoding("utf8").on("data", (text: string) => {
      for (const event of decoder.push(text)) this.#take(event);
    });
    channel.on("error", (error) =>
      this.log("cloud-hypervisor: cannot read events", { reason: HullError.from(error).message }),
    );
  }

  #reason(exit: ProcessExit): string {
    if (this.#requested) return `${exit.reason} (the VM was stopped)`;
    const panic = /Kernel panic - not syncing: [^\n]{0,500}/.exec(this.console())?.[0];
    if (this.#cause && panic) return `the guest's kernel crashed: ${panic}`;
    return this.#cause ?? exit.reason;
  }

  #take(event: VmmEvent): void {
    this.log("cloud-hypervisor event", { ...event });
    for (const listener of [...this.#listeners]) listener(event);
    const cause = causeOf(event);
    if (!cause || this.#requested) return;
    this.#cause ??= cause;
    // The VMM would boot a guest that restarts or panics again, without the pod's containers.
    if (event.event !== "shutdown") void this.kill(cause);
  }
}

/** Returns why the guest ended if the event says so, in the QEMU driver's words. */
function causeOf({ source, event }: VmmEvent): string | undefined {
  if (source === "guest" && event === "panic") return "the guest's kernel crashed";
  if (source === "vm" && event === "rebooting") {
    return "the guest reset itself without a panic message (a triple fault, or a reboot)";
  }
  if (source === "vm" && event === "shutdown") return "the guest powered off";
  return undefined;
}

/** Records a socket file in the ledger. The cleanup removes it and its record. */
async function recordSocket(ledger: Ledger, path: string, cleanup: Disposer): Promise<void> {
  const entry = await ledger.record({ kind: "socket", path });
  cleanup.push(`socket ${path}`, async (by) => {
    // A VMM that was taken over may have replaced it by a directory.
    await removeAll(path, by);
    await entry.forget();
  });
}
