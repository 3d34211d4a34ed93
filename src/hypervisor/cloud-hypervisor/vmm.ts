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

/** What every VMM inherits: the listening API socket, and the event stream's end. */
export const OWN_FDS = { first: 3, count: 2 } as const;

/** A Cloud Hypervisor process: its sockets, its console, its own account of what happens, and its end. */
export class Vmm {
  readonly pid: number;
  /** Resolves when the process is gone and everything that was recorded for it has been released. */
  readonly exited: Promise<VmExit>;
  readonly #listeners = new Set<(event: VmmEvent) => void>();
  /** What the guest did that ended it, as far as the VMM told. */
  #cause: string | undefined;
  #requested = false;

  private constructor(
    readonly process: HostProcess,
    readonly socketPath: string,
    readonly ring: RingBuffer,
    cleanUp: Disposer,
    readonly log: VmContext["log"],
  ) {
    this.pid = process.pid;
    this.#watchEvents(process);
    this.exited = process.exited.then(async (exit) => {
      await cleanUp
        .dispose()
        .catch((error: unknown) => log("cloud-hypervisor: clean-up", { error: String(error) }));
      return {
        reason: this.#reason(exit),
        requested: this.#requested,
        console: this.console(),
        stderr: exit.stderr,
      };
    });
  }

  /**
   * Starts the process in the pod's network namespace, as the spec's user. Its API socket `clh.sock` and its event stream
   * are inherited descriptors: calls may be made at once. `folders` are inherited behind them. Seccomp filters are on.
   */
  static async start(spec: VmSpec, context: VmContext, folders: readonly number[]): Promise<Vmm> {
    const socketPath = join(spec.directory, "clh.sock");
    const cleanUp = new Disposer();
    const ring = new RingBuffer();
    try {
      await recordSocket(context.ledger, socketPath, cleanUp);
      await recordSocket(
        context.ledger,
        spec.vsock?.kind === "hybrid" ? spec.vsock.socket : undefined,
        cleanUp,
      );
      const api = await listeningSocket(socketPath);
      cleanUp.push("API socket", async () => api.release());
      const argv: [string, ...string[]] = [spec.path, "--api-socket", "fd=3", "--event-monitor", "fd=4"];
      argv.push("--seccomp", String(spec.seccomp ?? true), ...spec.extraArgs);
      const process = await launch(
        {
          role: "cloud-hypervisor",
          argv,
          pod: context.pod,
          netns: spec.netns,
          user: spec.user,
          fds: [api.fd, "channel", ...folders],
          onStdout: (data) => {
            ring.write(data);
            context.onConsole?.(data);
          },
        },
        context.ledger,
      );
      api.release();
      return new Vmm(process, socketPath, ring, cleanUp, context.log);
    } catch (error) {
      throw await undo(error, (by) => cleanUp.dispose(by));
    }
  }

  /** The last 64 KiB that the guest wrote to its serial port. */
  console(): string {
    return this.ring.text();
  }

  /** Resolves with the next event that `matches`; rejects with the deadline's reason or at the end of the process. */
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

  /** The exit if the process ends within `ms` milliseconds. */
  async exitWithin(ms: number): Promise<VmExit | undefined> {
    const what = "waiting for cloud-hypervisor to exit";
    return await Deadline.within(ms, what, (limit) => limit.race(this.exited)).catch(() => undefined); // it lives on
  }

  /** Ends the process on our own account: `polite` first, SIGKILL when the deadline is over. */
  async stop(deadline: Deadline, polite: () => Promise<unknown>): Promise<void> {
    this.#requested = true;
    await this.process.stop(deadline, polite);
    await this.exited;
  }

  /** Ends the process at once, because of `cause`. */
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
      this.log("cloud-hypervisor events", { reason: HullError.from(error).message }),
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
    // A guest that restarts is no pod any more: its agent and containers are gone. The VMM would boot it again.
    if (event.event !== "shutdown") void this.kill(cause);
  }
}

// The sentences for a guest's own doing are those of the QEMU driver.
/** What an event says about the guest's end. */
function causeOf({ source, event }: VmmEvent): string | undefined {
  if (source === "guest" && event === "panic") return "the guest's kernel crashed";
  if (source === "vm" && event === "rebooting") {
    return "the guest reset itself without a panic message (a triple fault, or a reboot)";
  }
  if (source === "vm" && event === "shutdown") return "the guest powered off";
  return undefined;
}

/** Puts a socket file into the ledger; it is removed and forgotten at the end. */
async function recordSocket(ledger: Ledger, path: string | undefined, cleanUp: Disposer): Promise<void> {
  if (path === undefined) return;
  const entry = await ledger.record({ kind: "socket", path });
  cleanUp.push(`socket ${path}`, async (by) => {
    // A VMM that was taken over may have put a folder in its place.
    await removeAll(path, by);
    await entry.forget();
  });
}
