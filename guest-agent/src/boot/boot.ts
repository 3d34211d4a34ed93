import { AGENT_PORT, HOST_PORT } from "../../../src/core/guest-ports.ts";
import {
  AgentDefinition,
  type StartSandboxRequest,
} from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { Server } from "../../../src/ttrpc/server.ts";
import { Containers } from "../container/containers.ts";
import { PodPidNamespace } from "../container/pod-pid-namespace.ts";
import { EventBus } from "../events/event-bus.ts";
import { readText } from "../files.ts";
import { ForwardListener } from "../forward/forward-listener.ts";
import { describe, type Log } from "../log.ts";
import { Reaper } from "../loop/reaper.ts";
import { loopbackUp } from "../network/netlink.ts";
import { Crun } from "../oci/crun.ts";
import { Sandbox } from "../sandbox/sandbox.ts";
import { agentHandlers } from "../service/agent-service.ts";
import { StreamListener } from "../stdio/stream-listener.ts";
import { TokenTable } from "../stdio/tokens.ts";
import type { Sys } from "../sys.ts";
import { AgentPort } from "../transport/agent-port.ts";
import { HostCall } from "../transport/host-call.ts";
import { becomesTemplate, clearFreeMemory } from "./free-memory.ts";
import { prepareGuest } from "./guest.ts";
import { loadModules, readModuleList } from "./modules.ts";
import { mountAll } from "./mounts.ts";

/** What comes while the agent is busy is refused beyond this; a pod may start hundreds of streams at once. */
const BACKLOG = 1024;
const MAX_CALLS = 16_384;
/** How long what still runs on root disks may take to end when the VM is powered off; the host waits 1.5 s in all. */
const RELEASE_LIMIT_MS = 500;

/** Descriptors that listen for the two services: vsock in the guest, anything in a test. */
export interface Listeners {
  agent: number;
  stdio: number;
}

/**
 * Brings the guest from the kernel's hand-over to answering: kernel file systems, the vsock driver, the listening
 * sockets, then everything else. A connection that arrives early waits in the backlog.
 */
export function boot(sys: Sys, log: Log, version: string): void {
  mountAll(sys);
  const modules = readModuleList(sys);
  loadModules(sys, log, modules.transport);
  const listeners = {
    agent: sys.vsockListen(AGENT_PORT.ttrpc, BACKLOG),
    stdio: sys.vsockListen(AGENT_PORT.stdio, BACKLOG),
  };
  loadModules(sys, log, modules.rest);
  const forward = new ForwardListener(sys, sys.vsockListen(AGENT_PORT.forward, BACKLOG), log);
  const crunBinary = prepareGuest(sys);
  loopbackUp(sys);
  // A host that has the kernel's vsock dials instead: its port would be all guests'.
  const port = serve(sys, log, version, listeners, crunBinary, {
    taken: () => call.stop(),
    started: ({ forwardToken }) => forward.allow(forwardToken),
  });
  const call = new HostCall(sys, HOST_PORT, (fd) => port.take(fd));
  if (becomesTemplate(sys)) clearFreeMemory(sys);
  log("info", `ready after ${sys.monotonicMs().toFixed(0)} ms, ${residentKib(sys)} KiB resident`);
}

/** What the agent tells while it serves. */
interface AgentEvents {
  /** The host has connected. */
  taken(): void;
  /** The VM becomes its pod's. */
  started(request: StartSandboxRequest): void;
}

/** Wires the parts together and serves both sockets. Answers the agent's port, for a connection that was made by us. */
export function serve(
  sys: Sys,
  log: Log,
  version: string,
  listeners: Listeners,
  crunBinary: string,
  events: AgentEvents,
): AgentPort {
  const reaper = new Reaper(sys);
  reaper.start();
  const tokens = new TokenTable();
  const bus = new EventBus();
  let consoles = 0;
  const containers = new Containers({
    sys,
    log,
    reaper,
    crun: new Crun(sys, reaper, { binary: crunBinary, stateRoot: "/run/crun" }),
    podPidNamespace: new PodPidNamespace(sys, reaper),
    tokens,
    events: bus,
    bundles: "/run/hull/containers",
    cgroupParent: "/hull",
    consolePath: () => `/run/hull/console/${++consoles}.sock`,
  });
  const writeBack = async (): Promise<void> => {
    await containers.releaseRootDisks(RELEASE_LIMIT_MS);
    sys.sync();
  };
  const powerOff = (): void => sys.reboot(sys.REBOOT_POWER_OFF);
  const server = new Server({
    report: (where, error) => log("error", `${where}: ${describe(error)}`),
    maxCalls: MAX_CALLS,
  });
  const sandbox = new Sandbox(sys, log, (request) => {
    port.seal();
    events.started(request);
  });
  server.register(
    AgentDefinition,
    agentHandlers({ sys, version, sandbox, containers, events: bus, writeBack, powerOff }),
  );
  const port = new AgentPort(sys, listeners.agent, server, log, () => events.taken());
  new StreamListener(sys, listeners.stdio, tokens, log);
  return port;
}

/** This process's memory (proc_pid_status(5)). */
function residentKib(sys: Sys): string {
  return /^VmRSS:\s+(\d+) kB$/m.exec(readText(sys, "/proc/self/status"))?.[1] ?? "?";
}
