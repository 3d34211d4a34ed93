import { closeSync, existsSync, rmSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadConfig } from "../config/load.ts";
import { Deadline } from "../core/deadline.ts";
import { errnoOf } from "../core/errors.ts";
import { PendingCalls } from "../core/pending-calls.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { Timeline } from "../core/timeline.ts";
import { VERSION } from "../core/version.ts";
import { releaseRecorded } from "../ledger/release.ts";
import { removePodDirectory } from "../ledger/remove-pod-directory.ts";
import { StateFile } from "../ledger/state-file.ts";
import { Pod } from "../pod/pod.ts";
import type { PodEvent } from "../pod/pod-event.ts";
import { SandboxDefinition } from "../proto/generated/containerd/runtime/sandbox/v1/sandbox.ts";
import { TaskDefinition } from "../proto/generated/containerd/task/v2/task.ts";
import { bootSandbox } from "../sandbox/boot/boot-sandbox.ts";
import { healthSentence } from "../sandbox/vm-health.ts";
import type { Health } from "../sandbox/watchdog.ts";
import { whenAbandoned } from "./abandoned.ts";
import { PodPaths, STATE_ROOT } from "./bootstrap/pod-paths.ts";
import { type BootstrapRecord, decodeRecord } from "./bootstrap/record.ts";
import { INHERITED } from "./bootstrap/spawn-daemon.ts";
import { tellCrash } from "./crash.ts";
import { EventPublisher } from "./events/publisher.ts";
import { fromHealth, fromPodEvent } from "./events/task-events.ts";
import { giveBackWhenIdle, loadMemoryAddon } from "./idle-memory.ts";
import { installation } from "./installation.ts";
import { openProcessIo } from "./io/host-io.ts";
import { createLog, type Logger } from "./log/log.ts";
import { logLevel, PodConfig } from "./pod-config.ts";
import { Retirement } from "./retirement.ts";
import { noted, type ServedService, type Serving, served, serveTtrpc } from "./serve/serving.ts";
import { SandboxService } from "./services/sandbox/service.ts";
import { type CgroupMode, hostCgroupMode } from "./services/stats/metrics-any.ts";
import { TASK_SERVICES, taskService } from "./services/task.ts";
import { logStateOn } from "./state-dump.ts";

/** What the shims before this one have parsed. No namespace of containerd's begins with a dot. */
const CONFIG_CACHE = `${STATE_ROOT}/.config`;
/** How long pending events may hold up the end: containerd waits 3 s for Shutdown. */
const FLUSH_LIMIT_MS = 1_000;
const REMOVE_LIMIT_MS = 2_000;
/** How long a pod's end may take, whatever was under way in it. What is left then is for `delete`. */
const END_LIMIT_MS = 15_000;

/** The daemon of one pod: serves containerd until Shutdown or a signal, then leaves nothing behind. */
export class Daemon {
  readonly #paths: PodPaths;
  readonly #record: BootstrapRecord;
  readonly #log: Logger;
  readonly #events: EventPublisher;
  readonly #ledger: StateFile;
  readonly #pod: Pod;
  readonly #sandbox: SandboxService;
  readonly #config: PodConfig;
  #cgroupMode: Promise<CgroupMode> | undefined;
  readonly #timeline = new Timeline();
  /** Of containerd, and to the guest's agent and the VMM. */
  readonly #calls = { incoming: new PendingCalls(), outgoing: new PendingCalls() };
  #timelineTold = false;
  #serving: Serving | undefined;
  #used = false;
  #ended: Promise<void> | undefined;
  readonly #retirement: Retirement;

  private constructor(paths: PodPaths, record: BootstrapRecord) {
    const { namespace, id } = record;
    this.#timeline.mark("daemon: modules loaded");
    this.#paths = paths;
    this.#record = record;
    this.#log = createLog(record.logLevel, { namespace, pod: id });
    this.#events = new EventPublisher({
      address: record.ttrpcAddress,
      namespace,
      log: (level, message, fields) => this.#log[level](fields ?? {}, message),
    });
    const warn = (message: string) => this.#log.warn(message);
    this.#ledger = new StateFile(paths.directory, namespace, id, warn);
    const files = loadConfig({
      runtimeOptions: record.options,
      env: process.env,
      installation: installation(),
      cache: CONFIG_CACHE,
    });
    this.#config = new PodConfig(files, (loaded) => {
      this.#log.level = logLevel(record.logLevel, loaded);
    });
    this.#pod = new Pod({
      id,
      boot: async (request, deadline) => {
        const loaded = await this.#config.ofPod(request.annotations);
        this.#timeline.mark("configuration loaded");
        for (const warning of loaded.warnings) this.#log.warn(warning);
        return await bootSandbox(
          request,
          {
            namespace,
            id,
            directory: paths.directory,
            installation: installation(),
            config: loaded.config,
            ledger: this.#ledger,
            caller: { namespace: INHERITED.mountNamespace, root: INHERITED.root },
            timeline: this.#timeline,
            calls: this.#calls.outgoing,
            log: (message, fields) => this.#log.debug(fields ?? {}, message),
            warn,
            reportHealth: (health) => this.#tellHealth(health),
          },
          deadline,
        );
      },
      timeline: this.#timeline,
      publish: (event) => this.#publish(event),
      emptied: () => this.#retirement.emptied(),
      log: (message, fields) => this.#log.warn(fields ?? {}, message),
    });
    this.#sandbox = this.#sandboxService();
    this.#retirement = new Retirement({
      unused: () => this.#pod.empty && !this.#sandbox.owns,
      retire: () => {
        this.#log.info("shim: no container is left and Shutdown was not called: exiting");
        void this.#shutdown();
      },
    });
  }

  /** Starts serving on the inherited socket. */
  static async start(namespace: string, id: string): Promise<Daemon> {
    const paths = new PodPaths(namespace, id);
    const daemon = new Daemon(paths, decodeRecord(await readFile(paths.record, "utf8")));
    const describe = () => daemon.describe();
    tellCrash(daemon.#log, describe);
    logStateOn("SIGUSR1", daemon.#log, describe);
    daemon.#serving = await daemon.#serve();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => void daemon.end().then(() => process.exit(0)));
    }
    whenAbandoned(INHERITED.launcher, () => {
      daemon.#log.warn({}, "shim: start was killed before containerd knew of this shim: exiting");
      void daemon.end().then(() => process.exit(0));
    });
    tellReady();
    daemon.#saveMemory();
    daemon.#timeline.mark("daemon: serving");
    daemon.#log.debug({ pid: process.pid }, "shim: serving");
    return daemon;
  }

  /** By the protocol that the launcher told containerd. */
  async #serve(): Promise<Serving> {
    const services: ServedService[] = [
      served(SandboxDefinition, this.#sandbox.handlers()),
      served(TaskDefinition, this.#taskService(), TASK_SERVICES),
    ].map((service) => noted(service, this.#calls.incoming));
    const report = (where: string, error: unknown) => this.#log.error({ err: error }, where);
    const where = { fd: INHERITED.listener };
    if (!existsSync(this.#paths.answer)) return await serveTtrpc(services, where, report);
    const { serveGrpc } = await import("./serve/grpc.ts");
    return await serveGrpc(services, where, report);
  }

  /** What everything is doing, for the state dump. */
  describe(): Snapshot {
    return {
      version: VERSION,
      uptimeMs: Math.round(performance.now()),
      rssMib: Math.round(process.memoryUsage.rss() / 2 ** 20),
      lastStep: this.#timeline.marks().at(-1),
      ending: this.#ended !== undefined,
      calls: this.#calls.incoming.describe(),
      outgoing: this.#calls.outgoing.describe(),
      events: this.#events.describe(),
      pod: this.#pod.describe(),
      ledger: this.#ledger.describe(),
    };
  }

  /** Without the addon the daemon works, and needs twice the memory after many calls. */
  #saveMemory(): void {
    try {
      giveBackWhenIdle(loadMemoryAddon(join(installation(), "lib/memory.node")));
    } catch (error) {
      this.#log.warn({ err: error }, "shim: cannot return idle memory");
    }
  }

  /** Ends the pod and removes everything it had. Idempotent, never rejects. */
  end(): Promise<void> {
    this.#retirement.cancel();
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    // Those who are connected are still answered; for anybody else this shim is gone, and `start` awaits its end.
    this.#serving?.close();
    await this.#freePod();
    await Deadline.within(FLUSH_LIMIT_MS, "deliver the last events", (limit) => this.#events.flush(limit));
    this.#events.close();
    const what = `remove ${this.#paths.directory}`;
    await Deadline.within(REMOVE_LIMIT_MS, what, (limit) => this.#removeAll(limit)).catch((error) =>
      this.#log.error({ err: error }, "shim: cleanup failed"),
    );
  }

  /** Whatever this leaves is in the record. */
  async #freePod(): Promise<void> {
    await Deadline.within(END_LIMIT_MS, "end the pod", (limit) => limit.race(this.#pod.dispose())).catch(
      (error) => this.#log.error({ err: error }, "shim: stopping the pod failed"),
    );
  }

  /** The ledger is empty unless something could not be released: where it still cannot, it stays for `delete`. */
  async #removeAll(limit: Deadline): Promise<void> {
    if (this.#ledger.resources.length > 0) await releaseRecorded(this.#ledger, installation(), limit);
    await removePodDirectory(this.#paths.directory, limit);
  }

  #taskService() {
    return taskService({
      pod: this.#pod,
      version: VERSION,
      escalation: () => this.#config.escalation(),
      createLimitMs: (annotations) => this.#config.createLimitMs(annotations),
      cgroupMode: () => this.#hostCgroupMode(),
      openIo: (owner, stdio, deadline) =>
        openProcessIo(stdio, {
          ...owner,
          namespace: this.#record.namespace,
          directory: this.#paths.directory,
          ledger: this.#ledger,
          deadline,
          warn: (message) => this.#log.warn(message),
        }),
      creating: () => this.#use(),
      outlivesContainers: () => this.#sandbox.owns,
      shutdown: () => this.#shutdown(),
    });
  }

  #sandboxService() {
    return new SandboxService({
      pod: this.#pod,
      id: this.#record.id,
      directory: this.#paths.directory,
      version: VERSION,
      cgroupMode: () => this.#hostCgroupMode(),
      creating: () => this.#use(),
      shutdown: () => this.#shutdown(),
    });
  }

  /** Until then another `start` of the id takes this shim for one that nobody will call, and ends it. */
  #use(): void {
    if (this.#used) return;
    rmSync(this.#paths.unused, { force: true });
    this.#used = true;
  }

  #hostCgroupMode(): Promise<CgroupMode> {
    this.#cgroupMode ??= hostCgroupMode().catch((error: unknown) => {
      this.#cgroupMode = undefined; // it may be tried again
      throw error;
    });
    return this.#cgroupMode;
  }

  async #shutdown(): Promise<void> {
    await this.end();
    // The reply goes out first; nothing of the pod is left by then, so nothing is lost if it does not.
    setImmediate(() => void this.#serving?.shutdown(500).then(() => process.exit(0)));
  }

  /** Logs how the start went, once: when the pod's first container has started. */
  #tellTimeline(): void {
    if (this.#timelineTold) return;
    this.#timelineTold = true;
    this.#timeline.mark("container started");
    const since = this.#record.startedAt ?? performance.timeOrigin;
    this.#log.debug({ since, timeline: this.#timeline.marks(since) }, "timeline of the start");
  }

  #tellHealth(health: Health): void {
    this.#log.warn(`health: ${healthSentence(health)}`);
    this.#events.publish(fromHealth(this.#record.id, health));
  }

  #publish(event: PodEvent): void {
    if (event.kind === "start") this.#tellTimeline();
    this.#events.publish(fromPodEvent(event));
  }
}

/** A launcher that was killed does not wait: `whenAbandoned` sees to that. */
function tellReady(): void {
  try {
    writeSync(INHERITED.ready, "\n");
  } catch (error) {
    if (errnoOf(error) !== "EPIPE") throw error;
  } finally {
    closeSync(INHERITED.ready);
  }
}
