import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { PROTOCOL_MAJOR } from "../core/agent-protocol.ts";
import type { Deadline } from "../core/deadline.ts";
import { invalidArgument, unavailable } from "../core/errors.ts";
import { AGENT_PORT } from "../core/guest-ports.ts";
import type { NetworkSettings } from "../network/network-settings.ts";
import { AgentDefinition, SigtermEscalation, type Stdio } from "../proto/generated/hull/agent/v1/agent.ts";
import { type Client, ClientConnection, createClient } from "../ttrpc/client.ts";
import { socketTransport } from "../ttrpc/node/socket-transport.ts";
import type {
  CreateContainer,
  CreateExec,
  GuestAgent,
  GuestExit,
  GuestSize,
  GuestStats,
  ProcessRef,
  SandboxSettings,
  SignalRequest,
  StdioTokens,
  TerminalSize,
} from "./guest-agent.ts";

/** Opens a stream to a vsock port of the guest. */
type Dial = (port: number, deadline: Deadline) => Promise<Socket>;

/**
 * The agent of one VM over ttrpc, unfiltered. The guest is not trusted: everything else uses `BoundedAgent`.
 */
export class AgentConnection implements GuestAgent {
  readonly lost: Promise<Error>;
  readonly #connection: ClientConnection;
  readonly #client: Client<typeof AgentDefinition>;
  readonly #dial: Dial;
  version = "";
  kernelRelease = "";

  private constructor(socket: Socket, dial: Dial) {
    this.#dial = dial;
    this.#connection = new ClientConnection(socketTransport(socket), { peer: "the guest agent" });
    this.#client = createClient(this.#connection, AgentDefinition);
    this.lost = this.#connection.closed.then(
      (cause) => cause ?? unavailable("the guest agent closed the connection"),
    );
  }

  /** Connects to the agent and does the handshake. Throws Unavailable if the protocol versions differ. */
  static async connect(socket: Socket, dial: Dial, deadline: Deadline): Promise<AgentConnection> {
    const agent = new AgentConnection(socket, dial);
    try {
      const hello = await agent.#client.hello({ protocolMajor: PROTOCOL_MAJOR }, { deadline });
      if (hello.protocolMajor !== PROTOCOL_MAJOR) {
        throw unavailable(
          `guest agent: speaks protocol ${hello.protocolMajor}, this shim ${PROTOCOL_MAJOR}: ` +
            "the guest image and the shim are from different releases; install both from one build",
        );
      }
      agent.version = hello.agentVersion;
      agent.kernelRelease = hello.kernelRelease;
      return agent;
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  /** Repeats the handshake, which has no side effects. */
  async ping(deadline: Deadline): Promise<void> {
    await this.#client.hello({ protocolMajor: PROTOCOL_MAJOR }, { deadline });
  }

  async startSandbox(settings: SandboxSettings, deadline: Deadline): Promise<void> {
    await this.#client.startSandbox(
      {
        hostname: settings.hostname,
        timeUnixNano: BigInt(Date.now()) * 1_000_000n,
        entropy: randomBytes(64),
        shares: [...settings.shares],
        sysctls: { ...settings.sysctls },
        ...network(settings.network),
        shmSize: settings.shmSize,
        maxShareFiles: settings.maxShareFiles,
        forwardToken: settings.forwardToken,
      },
      { deadline },
    );
  }

  async updateNetwork(settings: NetworkSettings, deadline: Deadline): Promise<void> {
    await this.#client.updateNetwork(network(settings), { deadline });
  }

  async onlineResources({ vcpus, memoryMib }: GuestSize, deadline: Deadline): Promise<void> {
    await this.#client.onlineResources({ vcpus, memoryMib }, { deadline });
  }

  async createContainer(request: CreateContainer, deadline: Deadline): Promise<void> {
    await this.#client.createContainer(
      {
        containerId: request.containerId,
        spec: encodeJson(request.spec),
        stdio: stdio(request.stdio),
        blockDevices: (request.blockDevices ?? []).map((device) => ({ ...device })),
        pciDevices: [...(request.pciDevices ?? [])],
        ownDevices: (request.ownDevices ?? []).map((device) => ({ ...device })),
        moduleDirectory: request.moduleDirectory ?? "",
        rootDisk: request.rootDisk && { ...request.rootDisk, options: [...request.rootDisk.options] },
      },
      { deadline },
    );
  }

  async createExec(request: CreateExec, deadline: Deadline): Promise<void> {
    await this.#client.createExec(
      {
        containerId: request.containerId,
        execId: request.execId,
        process: encodeJson(request.process),
        stdio: stdio(request.stdio),
      },
      { deadline },
    );
  }

  async start(process: ProcessRef, deadline: Deadline): Promise<void> {
    await this.#client.startProcess({ ...process }, { deadline });
  }

  async wait(process: ProcessRef): Promise<GuestExit> {
    const answer = await this.#client.waitProcess({ ...process });
    return {
      status: answer.exitStatus,
      at: new Date(Number(answer.exitedAtUnixNano / 1_000_000n)),
      oomKilled: answer.oomKilled,
      output: { stdout: answer.stdoutBytes, stderr: answer.stderrBytes },
    };
  }

  async signal(process: ProcessRef, request: SignalRequest, deadline: Deadline): Promise<void> {
    const { escalation } = request;
    await this.#client.signalProcess(
      {
        ...process,
        signal: request.signal,
        all: request.all,
        escalation:
          typeof escalation === "object"
            ? SigtermEscalation.ESCALATION_AFTER
            : ESCALATION_BY_NAME[escalation],
        escalationMs: typeof escalation === "object" ? escalation.afterMs : 0,
      },
      { deadline },
    );
  }

  async resize(process: ProcessRef, size: TerminalSize, deadline: Deadline): Promise<void> {
    await this.#client.resizeTerminal({ ...process, ...size }, { deadline });
  }

  async delete(process: ProcessRef, deadline: Deadline): Promise<void> {
    await this.#client.deleteProcess({ ...process }, { deadline });
  }

  async pause(containerId: string, deadline: Deadline): Promise<void> {
    await this.#client.pauseContainer({ containerId }, { deadline });
  }

  async resume(containerId: string, deadline: Deadline): Promise<void> {
    await this.#client.resumeContainer({ containerId }, { deadline });
  }

  async update(containerId: string, resources: object, deadline: Deadline): Promise<void> {
    await this.#client.updateContainer({ containerId, resources: encodeJson(resources) }, { deadline });
  }

  async stats(containerId: string, deadline: Deadline): Promise<GuestStats> {
    const { cgroupFiles, netDev } = await this.#client.statsContainer({ containerId }, { deadline });
    return { cgroupFiles, netDev };
  }

  async openStream(token: string, deadline: Deadline): Promise<Socket> {
    if (!/^[0-9a-f]{32}$/.test(token)) throw invalidArgument(`stream token "${token}" is not 32 hex digits`);
    const socket = await this.#dial(AGENT_PORT.stdio, deadline);
    socket.write(`${token}\n`);
    return socket;
  }

  onOom(listener: (containerId: string) => void): void {
    const events = this.#client.events({});
    const follow = async () => {
      for await (const { event } of events) {
        if (event?.$case === "oom") listener(event.value.containerId);
      }
    };
    // The stream ends with the connection, and `lost` reports that.
    follow().catch(() => undefined);
  }

  async shutdown(deadline: Deadline): Promise<void> {
    await this.#client.shutdown({}, { deadline });
  }

  close(): void {
    this.#connection.close();
  }
}

const ESCALATION_BY_NAME = {
  never: SigtermEscalation.ESCALATION_NEVER,
  unhandled: SigtermEscalation.ESCALATION_UNHANDLED,
  immediate: SigtermEscalation.ESCALATION_IMMEDIATE,
} as const;

function encodeJson(value: object): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch (error) {
    // JSON.parse accepts nesting that JSON.stringify does not.
    if (error instanceof RangeError) throw invalidArgument("the OCI spec is nested too deeply");
    throw error;
  }
}

/** Copies the settings into mutable lists, as the generated messages want them. */
function network({ interfaces, routes, neighbours, moduleDirectory = "" }: NetworkSettings) {
  return {
    interfaces: interfaces.map((one) => ({ pciPath: "", ...one, addresses: [...one.addresses] })),
    routes: routes.map((route) => ({ ...route, nextHops: [...route.nextHops] })),
    neighbours: [...neighbours],
    moduleDirectory,
  };
}

function stdio(tokens: StdioTokens): Stdio {
  return {
    terminal: tokens.terminal,
    stdinToken: tokens.stdin ?? "",
    stdoutToken: tokens.stdout ?? "",
    stderrToken: tokens.stderr ?? "",
    terminalWidth: tokens.size?.width ?? 0,
    terminalHeight: tokens.size?.height ?? 0,
  };
}
