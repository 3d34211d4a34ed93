import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { AgentConnection } from "../../src/agent/agent-connection.ts";
import { BoundedAgent } from "../../src/agent/bounded-agent.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { PendingCalls } from "../../src/core/pending-calls.ts";
import { AgentDefinition } from "../../src/proto/generated/hull/agent/v1/agent.ts";
import { socketTransport } from "../../src/ttrpc/node/socket-transport.ts";
import { type Handlers, Server } from "../../src/ttrpc/server.ts";

/** An agent's answer to Hello. */
export const HELLO = {
  protocolMajor: 2,
  protocolMinor: 0,
  agentVersion: "1",
  kernelRelease: "6.1",
  features: [],
};

/**
 * Returns an agent that answers with `handlers`, as the shim uses it: over a socket, bounded. `guest` is the
 * guest's end.
 */
export async function hostileAgent(
  t: TestContext,
  handlers: Handlers<typeof AgentDefinition>,
  requestTimeout = 60_000,
): Promise<{ connecting: Promise<BoundedAgent>; warnings: string[]; guest: Socket }> {
  const [host, guest] = await socketPair(t);
  const server = new Server();
  server.register(AgentDefinition, { hello: () => HELLO, ...handlers });
  server.serve(socketTransport(guest));
  const warnings: string[] = [];
  const noDial = () => Promise.reject(Object.assign(new Error("connect ENOENT"), { code: "ENOENT" }));
  const connecting = BoundedAgent.connect(AgentConnection.connect(host, noDial, Deadline.none()), {
    requestTimeout,
    warn: (message) => void warnings.push(message),
    calls: new PendingCalls(),
  });
  connecting.catch(() => undefined); // the test awaits it itself
  return { connecting, warnings, guest };
}

async function socketPair(t: TestContext): Promise<[Socket, Socket]> {
  const directory = await mkdtemp(join(tmpdir(), "hull-hostile-agent-"));
  const server = createServer().listen(join(directory, "socket"));
  await once(server, "listening");
  const near = connect(join(directory, "socket"));
  const [far] = (await once(server, "connection")) as [Socket];
  near.on("error", () => undefined); // closing one end resets the other
  t.after(async () => {
    near.destroy();
    far.destroy();
    server.close();
    await rm(directory, { recursive: true });
  });
  return [near, far];
}
