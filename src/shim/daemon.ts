import { existsSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadConfig } from "../config/load.ts";
import type { Deadline } from "../core/deadline.ts";
import { PendingCalls } from "../core/pending-calls.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { Timeline } from "../core/timeline.ts";
import { VERSION } from "../core/version.ts";
import { StateFile } from "../ledger/state-file.ts";
import type { SandboxRequest } from "../oci/sandbox-request.ts";
import { Pod } from "../pod/pod.ts";
import type { PodEvent } from "../pod/pod-event.ts";
import { SandboxDefinition } from "../proto/generated/containerd/runtime/sandbox/v1/sandbox.ts";
import { TaskDefinition } from "../proto/generated/containerd/task/v2/task.ts";
import { bootSandbox } from "../sandbox/boot/boot-sandbox.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { healthSentence } from "../sandbox/vm-health.ts";
import type { Health } from "../sandbox/watchdog.ts";
import { PodPaths, STATE_ROOT } from "./bootstrap/pod-paths.ts";
import { type BootstrapRecord, decodeRecord } from "./bootstrap/record.ts";
import { INHERITED } from "./bootstrap/spawn-daemon.ts";
import { keepCompiledForm } from "./compiled-form.ts";
import { logCrashes } from "./crash.ts";
import { EventPublisher } from "./events/publisher.ts";
import { fromHealth, fromPodEvent } from "./events/task-events.ts";
import { openProcessIo } from "./io/host-io.ts";
import { onLauncherKilled, reportReady } from "./launcher-pipes.ts";
import { createLog, type Log } from "./log/log.ts";
import { logLevel, PodConfig } from "./pod-config.ts";
import { Retirement } from "./retirement.ts";
import { type ServedService, type Serving, served, serveTtrpc, tracked } from "./serve/serving.ts";
import { SandboxService } from "./services/sandbox/service.ts";
import { type CgroupMode, hostCgroupMode } from "./services/stats/metrics-any.ts";
import { TASK_SERVICES, taskService } from "./services/task.ts";
import { logStateOn } from "./state-dump.ts";
import { tearDown } from "./teardown.ts";

/** Configurations that earlier shims parsed. A containerd namespace never begins with a dot. */
const CONFIG_CACHE = `${STATE_ROOT}/.config`;
/** How long connected clients may take to read their last responses, and again to disconnect. */
const SHUTDOWN_GRACE_MS = 500;
/** When the daemon does what is no part of its start: most pods have started by then. */
const SETTLE_MS = 5_000;

/** The daemon of one pod: serves containerd until Shutdown or a signal, then removes everything of the pod. */
export class Daemon {
  readonly #installation: string;
  readonly #paths: PodPaths;
  readonly #record: BootstrapRecord;
  readonly #log: Log;
  readonly #events: EventPublisher;
  readonly #ledger: StateFile;
  readonly #pod: Pod;
  readonly #sandbox: SandboxService;
  readonly #config: PodConfig;
  #cgroupMode: Promise<CgroupMode> | undefined;
  readonly #timeline = new Timeline();
  /** Calls from containerd, and to the agent and the VMM. */
  readonly #calls = { incoming: new PendingCalls(), outgoing: new PendingCalls() };
  #timelineLogged = false;
  #formKept = false;
  #serving: Serving | undefined;
  #used = false;
  #ended: Promise<void> | undefined;
  readonly #retirement: Retirement;

  private constructor(installation: string, paths: PodPaths, record: BootstrapRecord) {
    const { namespace, id } = record;
    this.#timeline.mark("daemon: modules loaded");
    this.#installation = installation;
    this.#paths = paths;
    this.#record = record;
    this.#log = createLog(record.logLevel, { namespace, pod: id });
    this.#events = new EventPublisher({
      address: record.ttrpcAddress,
      namespace,
      log: (level, message, fields) => this.#log[level](fields ?? {}, message),
    });
    this.#ledger = new StateFile(paths.directory, namespace, id, (message) => this.#log.warn(message));
    const files = loadConfig({
      runtimeOptions: record.options,
      env: process.env,
      installation,
      cache: CONFIG_CACHE,
    });
    this.#config = new PodConfig(files, (loaded) => {
      this.#log.level = logLevel(record.logLevel, loaded);
    });
    this.#pod = new Pod({
      id,
      boot: (request, deadline) => this.#boot(request, deadline),
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

  /** Starts to serve pod `id` on the inherited socket. `installation` is the directory with lib/, guest/, libexec/. */
  static async start(installation: string, namespace: string, id: string): Promise<Daemon> {
    const paths = new PodPaths(namespace, id);
    const daemon = new Daemon(installation, paths, decodeRecord(await readFile(paths.record, "utf8")));
    const describe = () => daemon.describe();
    logCrashes(daemon.#log, describe);
    logStateOn("SIGUSR1", daemon.#log, describe);
    daemon.#serving = await daemon.#serve();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => void daemon.end().then(() => process.exit(0)));
    }
    onLauncherKilled(INHERITED.launcher, () => {
      daemon.#log.warn({}, "shim: start was killed before containerd knew of this shim: exiting");
      void daemon.end().then(() => process.exit(0));
    });
    reportReady(INHERITED.ready);
    setTimeout(() => void daemon.#settle(), SETTLE_MS).unref();
    process.on("exit", () => daemon.#keepCompiledForm());
    daemon.#timeline.mark("daemon: serving");
    daemon.#log.debug({ pid: process.pid }, "shim: serving");
    return daemon;
  }

  async #boot(request: SandboxRequest, deadline: Deadline): Promise<Sandbox> {
    const loaded = await this.#config.ofPod(request.annotations);
    this.#timeline.mark("configuration loaded");
    for (const warning of loaded.warnings) this.#log.warn(warning);
    const context = {
      namespace: this.#record.namespace,
      id: this.#record.id,
      directory: this.#paths.directory,
      installation: this.#installation,
      config: loaded.config,
      ledger: this.#ledger,
      caller: { namespace: INHERITED.mountNamespace, root: INHERITED.root },
      timeline: this.#timeline,
      calls: this.#calls.outgoing,
      log: (message: string, fields?: Record<string, unknown>) => this.#log.debug(fields ?? {}, message),
      info: (message: string) => this.#log.info(message),
      warn: (message: string) => this.#log.warn(message),
      reportHealth: (health: Health) => this.#reportHealth(health),
    };
    return await bootSandbox(request, context, deadline);
  }

  /** Serves the protocol that the launcher reported to containerd. */
  async #serve(): Promise<Serving> {
    const services: ServedService[] = [
      served(SandboxDefinition, this.#sandbox.handlers()),
      served(TaskDefinition, this.#taskService(), TASK_SERVICES),
    ].map((service) => tracked(service, this.#calls.incoming));
    const report = (where: string, error: unknown) => this.#log.error({ err: error }, where);
    const where = { fd: INHERITED.listener };
    if (!existsSync(this.#paths.answer)) return await serveTtrpc(services, where, report);
    const { serveGrpc } = await import("./serve/grpc.ts");
    return await serveGrpc(services, where, report);
  }

  /** Returns the shim's state, for the state dump. */
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

  /** After the start, which it would make longer. Without the addon the daemon needs twice the memory after many calls. */
  async #settle(): Promise<void> {
    this.#keepCompiledForm();
    const { loadMemoryAddon, returnMemoryWhenIdle } = await import("./idle-memory.ts");
    try {
      returnMemoryWhenIdle(loadMemoryAddon(join(this.#installation, "lib/memory.node")));
    } catch (error) {
      this.#log.warn({ err: error }, "shim: cannot return idle memory");
    }
  }

  /** Only once, because V8's flags are part of the form, and change when the shim has settled. */
  #keepCompiledForm(): void {
    if (!this.#formKept && this.#timelineLogged) keepCompiledForm();
    this.#formKept = true;
  }

  /** Tears the pod down and removes everything of it on the host. Idempotent, never rejects. */
  end(): Promise<void> {
    this.#retirement.cancel();
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    // Connected clients still get responses. New ones are refused, and a `start` of the id waits for this process.
    this.#serving?.close();
    await tearDown({
      pod: this.#pod,
      events: this.#events,
      ledger: this.#ledger,
      directory: this.#paths.directory,
      installation: this.#installation,
      log: this.#log,
    });
  }

  #taskService() {
    return taskService({
      pod: this.#pod,
      version: VERSION,
      escalation: () => this.#config.escalation(),
      createTimeoutMs: (annotations) => this.#config.createTimeoutMs(annotations),
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
      creating: () => this.#markUsed(),
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
      creating: () => this.#markUsed(),
      shutdown: () => this.#shutdown(),
    });
  }

  /** Before this, another `start` of the id may terminate this shim as unused. */
  #markUsed(): void {
    if (this.#used) return;
    rmSync(this.#paths.unused, { force: true });
    this.#used = true;
  }

  #hostCgroupMode(): Promise<CgroupMode> {
    this.#cgroupMode ??= hostCgroupMode().catch((error: unknown) => {
      this.#cgroupMode = undefined; // the next call tries again
      throw error;
    });
    return this.#cgroupMode;
  }

  async #shutdown(): Promise<void> {
    await this.end();
    // After the response to Shutdown was written.
    setImmediate(() => void this.#serving?.shutdown(SHUTDOWN_GRACE_MS).then(() => process.exit(0)));
  }

  /** Logs the steps of the start and when they ended, once, when the pod's first container has started. */
  #logTimeline(): void {
    if (this.#timelineLogged) return;
    this.#timelineLogged = true;
    this.#timeline.mark("container started");
    const since = this.#record.startedAt ?? performance.timeOrigin;
    this.#log.debug({ since, timeline: this.#timeline.marks(since) }, "timeline of the start");
  }

  #reportHealth(health: Health): void {
    this.#log.warn(`health: ${healthSentence(health)}`);
    this.#events.publish(fromHealth(this.#record.id, health));
  }

  #publish(event: PodEvent): void {
    if (event.kind === "start") this.#logTimeline();
    this.#events.publish(fromPodEvent(event));
  }
}
