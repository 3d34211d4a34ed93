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
import { clearFreeMemory, willBeTemplate } from "./free-memory.ts";
import { prepareGuest } from "./guest.ts";
import { loadModules, readModuleList } from "./modules.ts";
import { mountAll } from "./mounts.ts";

/** listen(2) backlog for each port; a pod may start hundreds of streams at once. */
const BACKLOG = 1024;
const MAX_CALLS = 16_384;
/** How long processes that use root disks may take to exit at power-off; the host waits 1.5 s in all. */
const RELEASE_TIMEOUT_MS = 500;

/** Listening sockets for the two services: vsock in the guest, anything in a test. */
export interface Listeners {
  agent: number;
  stdio: number;
}

/**
 * Initializes the guest: kernel file systems, the vsock driver, the listening sockets, then everything else.
 * Connections that arrive early wait in the backlog.
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
  // With vhost-vsock the host dials instead: a port on the host would be open to all guests.
  const port = serve(sys, log, version, listeners, crunBinary, {
    connected: () => call.stop(),
    started: ({ forwardToken }) => forward.allow(forwardToken),
  });
  const call = new HostCall(sys, HOST_PORT, (fd) => port.take(fd));
  if (willBeTemplate(sys)) clearFreeMemory(sys);
  log("info", `ready after ${sys.monotonicMs().toFixed(0)} ms, ${residentKib(sys)} KiB resident`);
}

/** Callbacks of `serve`. */
interface AgentEvents {
  /** The host has connected. */
  connected(): void;
  /** The VM has been assigned to its pod. */
  started(request: StartSandboxRequest): void;
}

/**
 * Wires the components together and serves both sockets. Returns the agent's port, for a connection that the
 * agent dials.
 */
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
    await containers.releaseRootDisks(RELEASE_TIMEOUT_MS);
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
    agentHandlers({ sys, log, version, sandbox, containers, events: bus, writeBack, powerOff }),
  );
  const port = new AgentPort(sys, listeners.agent, server, log, () => events.connected());
  new StreamListener(sys, listeners.stdio, tokens, log);
  return port;
}

/** The resident memory of this process (proc_pid_status(5)). */
function residentKib(sys: Sys): string {
  return /^VmRSS:\s+(\d+) kB$/m.exec(readText(sys, "/proc/self/status"))?.[1] ?? "?";
}
