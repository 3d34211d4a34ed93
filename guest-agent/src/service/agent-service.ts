import { PROTOCOL_MAJOR } from "../../../src/core/agent-protocol.ts";
import { failedPrecondition, invalidArgument } from "../../../src/core/errors.ts";
import type { AgentDefinition, Event } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import type { Handlers } from "../../../src/ttrpc/server.ts";
import type { CallContext } from "../../../src/ttrpc/server-route.ts";
import type { Containers } from "../container/containers.ts";
import type { EventBus } from "../events/event-bus.ts";
import { readText } from "../files.ts";
import type { Log } from "../log.ts";
import { checkId } from "../names.ts";
import { configureNetwork } from "../network/configure.ts";
import { onlineResources } from "../sandbox/online-resources.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Sys } from "../sys.ts";

const PROTOCOL_MINOR = 0;

const MAX_SIGNAL = 64;

interface AgentParts {
  sys: Sys;
  log: Log;
  version: string;
  sandbox: Sandbox;
  containers: Containers;
  events: EventBus;
  /** Unmounts the root disks and writes all other dirty data back. */
  writeBack: () => Promise<void>;
  /** Called after the answer to Shutdown has been written. */
  powerOff: () => void;
}

/**
 * Returns the handlers of `hull.agent.v1.Agent`, which translate between the wire format and the components.
 */
export function agentHandlers(parts: AgentParts): Handlers<typeof AgentDefinition> {
  return onceStarted(
    { ...sandboxCalls(parts), ...containerCalls(parts), ...processCalls(parts) },
    parts.sandbox,
  );
}

/** The calls about the VM. */
function sandboxCalls({
  sys,
  log,
  version,
  sandbox,
  events,
  writeBack,
  powerOff,
}: AgentParts): Handlers<typeof AgentDefinition> {
  return {
    hello(request) {
      if (request.protocolMajor !== PROTOCOL_MAJOR) {
        throw failedPrecondition(
          `agent: protocol ${request.protocolMajor} is not ${PROTOCOL_MAJOR}, the one this guest image speaks; use shim and image of the same release`,
        );
      }
      return {
        protocolMajor: PROTOCOL_MAJOR,
        protocolMinor: PROTOCOL_MINOR,
        agentVersion: version,
        kernelRelease: sys.uname().release,
        features: features(sys),
      };
    },

    async startSandbox(request) {
      await sandbox.start(request);
      return {};
    },

    async updateNetwork(request) {
      await configureNetwork(sys, log, request, request.moduleDirectory);
      return {};
    },

    onlineResources(request) {
      onlineResources(sys, request);
      return {};
    },

    events: (_request, context) => subscribe(events, context),

    async shutdown() {
      // The host may kill the VM as soon as it has the answer.
      await writeBack();
      // Not before the answer has been written.
      sys.setTimer(0, powerOff);
      return {};
    },
  };
}

/** The calls about containers. */
function containerCalls({
  sys,
  containers,
}: Pick<AgentParts, "sys" | "containers">): Handlers<typeof AgentDefinition> {
  return {
    async createContainer(request) {
      return { pid: await containers.create(request) };
    },

    async pauseContainer({ containerId }) {
      await containers.get(containerId).pause();
      return {};
    },

    async resumeContainer({ containerId }) {
      await containers.get(containerId).resume();
      return {};
    },

    async updateContainer({ containerId, resources }) {
      await containers.get(containerId).update(resources);
      return {};
    },

    statsContainer({ containerId }) {
      return {
        cgroupFiles: containers.get(containerId).cgroup.stats(),
        netDev: readText(sys, "/proc/net/dev"),
      };
    },
  };
}

/** The calls about the processes of containers. */
function processCalls({ containers }: Pick<AgentParts, "containers">): Handlers<typeof AgentDefinition> {
  return {
    createExec(request) {
      checkId("exec", request.execId);
      containers.get(request.containerId).addExec(request.execId, request.process, request.stdio);
      return {};
    },

    async startProcess({ containerId, execId }) {
      const container = containers.get(containerId);
      return { pid: await (execId === "" ? container.start() : container.startExec(execId)) };
    },

    async waitProcess({ containerId, execId }) {
      const ended = await containers.get(containerId).process(execId).wait();
      return {
        exitStatus: ended.status,
        exitedAtUnixNano: ended.atUnixNano,
        oomKilled: ended.oomKilled,
        stdoutBytes: ended.output.stdout,
        stderrBytes: ended.output.stderr,
      };
    },

    signalProcess(request) {
      const { signal, escalation, escalationMs } = request;
      if (signal > MAX_SIGNAL) throw invalidArgument(`signal ${signal}: must be 0 to ${MAX_SIGNAL}`);
      containers
        .get(request.containerId)
        .signal(request.execId, request.all, { signal, escalation, escalationMs });
      return {};
    },

    resizeTerminal({ containerId, execId, width, height }) {
      containers.get(containerId).process(execId).resize(width, height);
      return {};
    },

    async deleteProcess({ containerId, execId }) {
      if (execId === "") await containers.delete(containerId);
      else containers.get(containerId).deleteExec(execId);
      return {};
    },
  };
}

/** Calls that are allowed before StartSandbox: they leave nothing in the VM that a pod would find. */
const AT_ANY_TIME: readonly string[] = ["hello", "startSandbox", "shutdown"];

/**
 * Refuses all other calls before StartSandbox: a client that connects before the shim must not leave anything
 * in the VM.
 */
function onceStarted(handlers: object, sandbox: Sandbox): Handlers<typeof AgentDefinition> {
  const gated = Object.entries(handlers).map(([name, handler]) => [
    name,
    AT_ANY_TIME.includes(name)
      ? handler
      : (request: unknown, context: CallContext) => {
          sandbox.requireStarted();
          return handler(request, context);
        },
  ]);
  return Object.fromEntries(gated);
}

/** Returns the events from now on until the connection or the call ends. */
function subscribe(events: EventBus, context: CallContext): AsyncIterable<Event> {
  const subscription = events.subscribe();
  context.connection.onEnd(() => subscription.close());
  context.deadline.onEnd(() => subscription.close());
  return subscription;
}

function features(sys: Pick<Sys, "stat">): string[] {
  try {
    sys.stat("/proc/pressure/cpu");
    return ["psi"];
  } catch {
    return [];
  }
}
