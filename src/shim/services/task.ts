import type { Deadline } from "../../core/deadline.ts";
import { HullError, invalidArgument, unimplemented } from "../../core/errors.ts";
import { parseResources, readSpec } from "../../oci/spec.ts";
import type { Pod } from "../../pod/pod.ts";
import type { ProcessRef, SignalRequest } from "../../pod/process.ts";
import type { ProcessIo, StdioPaths } from "../../pod/stdio.ts";
import type { TaskDefinition } from "../../proto/generated/containerd/task/v2/task.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import type { Handlers } from "../../ttrpc/server.ts";
import { checkIdentifier } from "../bootstrap/identifier.ts";
import { jsonAny, taskStatus } from "./conversions.ts";
import { type CgroupMode, metricsAny } from "./stats/metrics-any.ts";
import { metricsV2 } from "./stats/metrics-v2.ts";

/** The names that the service is called by: v2 by containerd 1.x, v3 by 2.x if the shim reported version 3. */
export const TASK_SERVICES = ["containerd.task.v2.Task", "containerd.task.v3.Task"] as const;

interface TaskServiceOptions {
  readonly pod: Pod;
  readonly version: string;
  /** When SIGKILL follows SIGTERM, from the configuration. */
  escalation(): Promise<SignalRequest["escalation"]>;
  /** The timeout of a Create whose container has these annotations, from the configuration. */
  createTimeoutMs(annotations: Readonly<Record<string, string>>): Promise<number>;
  /** The type of metrics that the host's containerd expects. */
  cgroupMode(): Promise<CgroupMode>;
  /** Called before anything is created, which marks the shim as used. */
  creating(): void;
  /** Opens the client's ends of a process's streams. */
  openIo(owner: ProcessRef, stdio: StdioPaths, deadline: Deadline): Promise<ProcessIo>;
  /** Whether the pod keeps running without containers, until ShutdownSandbox. */
  outlivesContainers(): boolean;
  /** Called by Shutdown if no container exists, except those being created. Resolves when the pod was released. */
  shutdown(): Promise<void>;
}

const SIGNAL_LIMIT = 64;
/** The types of an exec's spec and of Update's resources: JSON in an Any, named after the OCI Go packages. */
const PROCESS_TYPE = "opencontainers/runtime-spec/1/Process";
const RESOURCES_TYPE = "opencontainers/runtime-spec/1/LinuxResources";

type TaskHandlers = Handlers<typeof TaskDefinition>;

/** Returns the handlers of containerd's task service (api/runtime/task/v2/shim.proto) on the pod model. */
export function taskService(options: TaskServiceOptions): TaskHandlers {
  return {
    ...lifecycleCalls(options),
    ...processCalls(options),
    ...resourceCalls(options),
    ...shimCalls(options),
  };
}

/** From Create to Delete. */
function lifecycleCalls(options: TaskServiceOptions): TaskHandlers {
  const { pod } = options;
  return {
    async create(request, { deadline }) {
      options.creating();
      checkIdentifier("container id", request.id);
      if (request.checkpoint)
        throw unimplemented(`create container ${request.id}: a VM cannot be started from a checkpoint`);
      const stdio = stdioPaths(request);
      const { id, bundle, rootfs } = request;
      const prepare = async (limit: Deadline) => {
        const spec = await readSpec(bundle);
        limit.shorten(await options.createTimeoutMs(spec.annotations ?? {}), `create container ${id}`);
        const io = await options.openIo({ containerId: id, execId: "" }, stdio, limit);
        return { bundle, spec, rootfs, stdio, io };
      };
      return { pid: (await pod.create(id, prepare, deadline)).pid };
    },

    async start({ id, execId }, { deadline }) {
      const container = pod.container(id);
      await container.start(execId, deadline);
      return { pid: container.pid };
    },

    async state({ id, execId }) {
      const container = pod.container(id);
      const { state, pid, stdio, exit } = container.status(execId);
      return {
        id,
        bundle: container.bundle,
        pid,
        status: taskStatus(state),
        ...stdio,
        exitStatus: exit?.status ?? 0,
        exitedAt: exit && toTimestamp(exit.at),
        execId,
      };
    },

    async wait({ id, execId }, { deadline }) {
      const exit = await deadline.race(pod.container(id).process(execId).exited);
      return { exitStatus: exit.status, exitedAt: toTimestamp(exit.at) };
    },

    async kill({ id, execId, signal, all }, { deadline }) {
      if (signal < 1 || signal > SIGNAL_LIMIT)
        throw invalidArgument(`kill container ${id}: no such signal: ${signal}`);
      await pod
        .container(id)
        .signal(execId, { signal, all, escalation: await options.escalation() }, deadline);
      return {};
    },

    async delete({ id, execId }, { deadline }) {
      // 0 while a Create is still pending, which the pod then cancels.
      const pid = knownPid(pod, id);
      const exit = execId
        ? await pod.container(id).deleteExec(execId, deadline)
        : await pod.delete(id, deadline);
      return { pid, exitStatus: exit.status, exitedAt: toTimestamp(exit.at) };
    },
  };
}

/** Execs and terminals. */
function processCalls(options: TaskServiceOptions): TaskHandlers {
  const { pod } = options;
  return {
    async exec(request, { deadline }) {
      checkIdentifier("exec id", request.execId);
      const container = pod.container(request.id);
      const process = jsonAny(
        `exec ${request.execId} of container ${request.id}`,
        request.spec,
        PROCESS_TYPE,
      );
      const stdio = stdioPaths(request);
      const io = await options.openIo({ containerId: request.id, execId: request.execId }, stdio, deadline);
      try {
        container.addExec(request.execId, { ...process, terminal: stdio.terminal }, stdio, io);
      } catch (error) {
        await io.close();
        throw error;
      }
      return {};
    },

    async resizePty({ id, execId, width, height }, { deadline }) {
      await pod.container(id).resize(execId, { width, height }, deadline);
      return {};
    },

    async closeIO({ id, execId, stdin }) {
      if (stdin) pod.container(id).closeStdin(execId);
      return {};
    },

    async pids({ id }) {
      // The guest's PIDs would be taken for PIDs of the host.
      return { processes: [{ pid: pod.container(id).pid, info: undefined }] };
    },
  };
}

/** A container's resources: limits, freezer and statistics. */
function resourceCalls(options: TaskServiceOptions): TaskHandlers {
  const { pod } = options;
  return {
    async pause({ id }, { deadline }) {
      await pod.container(id).pause(deadline);
      return {};
    },

    async resume({ id }, { deadline }) {
      await pod.container(id).resume(deadline);
      return {};
    },

    async update({ id, resources }, { deadline }) {
      const container = pod.container(id);
      const what = `update container ${id}`;
      await container.update(parseResources(jsonAny(what, resources, RESOURCES_TYPE), what), deadline);
      return {};
    },

    async checkpoint({ id }) {
      throw unimplemented(`checkpoint container ${id}: CRIU cannot save the state of a container in a VM`);
    },

    async stats({ id }, { deadline }) {
      const stats = await pod.container(id).stats(deadline);
      return { stats: metricsAny(await options.cgroupMode(), metricsV2(stats)) };
    },
  };
}

/** Calls that concern the shim. */
function shimCalls(options: TaskServiceOptions): TaskHandlers {
  const { pod } = options;
  return {
    async connect({ id }) {
      return { shimPid: process.pid, taskPid: knownPid(pod, id), version: options.version };
    },

    async shutdown() {
      // A Create that is still pending is cancelled.
      if (pod.containers.length === 0 && !options.outlivesContainers()) await options.shutdown();
      return {};
    },
  };
}

function stdioPaths(request: {
  stdin: string;
  stdout: string;
  stderr: string;
  terminal: boolean;
}): StdioPaths {
  const { stdin, stdout, stderr, terminal } = request;
  return { stdin, stdout, stderr, terminal };
}

/** 0 for an unknown container, with which containerd calls Connect to check that the shim is alive. */
function knownPid(pod: Pod, id: string): number {
  try {
    return pod.container(id).pid;
  } catch (error) {
    if (HullError.from(error).code === "NotFound") return 0;
    throw error;
  }
}
