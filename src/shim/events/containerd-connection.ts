import { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { EventsDefinition } from "../../proto/generated/containerd/services/events/ttrpc/v1/events.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import { type Client, ClientConnection, createClient } from "../../ttrpc/client.ts";
import { socketTransport } from "../../ttrpc/node/socket-transport.ts";
import { connectUnix } from "../../ttrpc/node/unix-socket.ts";
import type { ShimEvent } from "./shim-event.ts";

/** The timeout of a call, including the time to connect; the same as in containerd's own shims. */
const CALL_TIMEOUT_MS = 5_000;

/** The connection to containerd's events service, established for the first event and again after it was lost. */
export class ContainerdConnection {
  readonly #address: string;
  readonly #namespace: string;
  #current:
    | { readonly connection: ClientConnection; readonly client: Client<typeof EventsDefinition> }
    | undefined;

  /** `address` is the path of containerd's ttrpc socket. */
  constructor(address: string, namespace: string) {
    this.#address = address;
    this.#namespace = namespace;
  }

  /** Sends one event; resolves when containerd has accepted it. */
  async forward({ topic, event, at }: ShimEvent): Promise<void> {
    const envelope = { timestamp: toTimestamp(at), namespace: this.#namespace, topic, event };
    const metadata = new Map([["containerd-namespace-ttrpc", [this.#namespace]]]);
    try {
      await Deadline.within(CALL_TIMEOUT_MS, `forward ${topic} to containerd`, async (deadline) => {
        const client = this.#current?.client ?? (await this.#connect(deadline));
        await client.forward({ envelope }, { deadline, metadata });
      });
    } catch (error) {
      // The connection may be dead, and a new one costs little.
      if (HullError.from(error).code === "DeadlineExceeded") this.close();
      throw error;
    }
  }

  /** Closes the connection, if there is one. */
  close(): void {
    this.#current?.connection.close();
    this.#current = undefined;
  }

  async #connect(deadline: Deadline): Promise<Client<typeof EventsDefinition>> {
    const socket = await connectUnix(this.#address, deadline);
    const connection = new ClientConnection(socketTransport(socket), { peer: "containerd" });
    const client = createClient(connection, EventsDefinition);
    this.#current = { connection, client };
    void connection.closed.then(() => {
      if (this.#current?.connection === connection) this.#current = undefined;
    });
    return client;
  }
}
