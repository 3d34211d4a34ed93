import { Agent, type IncomingMessage, request } from "node:http";
import type { Deadline } from "../../core/deadline.ts";
import { type ErrorCode, HullError, resourceExhausted } from "../../core/errors.ts";
import { PendingCalls } from "../../core/pending-calls.ts";
import { printable, textOf } from "../../core/printable.ts";
import type {
  DiskConfig,
  FsConfig,
  NetConfig,
  PciDeviceInfo,
  RestoreConfig,
  VmConfig,
  VmInfo,
  VmmPingResponse,
} from "./api-types.ts";

/** The largest answer that is read: vm.info with its device tree stays far below. */
const MAX_BODY_BYTES = 4 << 20;

/** Characters of a refusal's reason that are told. */
const MAX_REASON = 1_000;

/**
 * The statuses of the published document; what is not here is a fault of the VMM. A device that it does not know, or knows
 * already, is no object of containerd's.
 */
const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: "InvalidArgument",
  404: "FailedPrecondition",
  405: "FailedPrecondition",
  409: "FailedPrecondition",
  413: "InvalidArgument",
  429: "Aborted",
};

/** A call that the VMM has refused. */
export class Refusal extends HullError {
  constructor(
    action: string,
    /** HTTP's. */
    readonly httpStatus: number,
    reason: string,
  ) {
    super(
      CODE_OF_STATUS[httpStatus] ?? "Internal",
      `cloud-hypervisor ${action}: ${reason} (HTTP ${httpStatus})`,
    );
  }
}

/**
 * A typed client of one VMM's API. It keeps one connection alive: the VMM serves one call at a time anyway.
 * Every call rejects with a HullError: the VMM's own words for a refusal, `Unavailable` when the connection fails
 * (which for a call that changes something leaves open whether it was done), the deadline's error when it is over.
 */
export class ApiClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 2 });

  constructor(
    readonly socketPath: string,
    readonly calls: PendingCalls = new PendingCalls(),
  ) {}

  ping(deadline: Deadline): Promise<VmmPingResponse> {
    return this.#get("vmm.ping", deadline, isPing);
  }
  info(deadline: Deadline): Promise<VmInfo> {
    return this.#get("vm.info", deadline, isInfo);
  }
  create(config: VmConfig, deadline: Deadline): Promise<void> {
    return this.#put("vm.create", deadline, config);
  }
  boot(deadline: Deadline): Promise<void> {
    return this.#put("vm.boot", deadline);
  }
  pause(deadline: Deadline): Promise<void> {
    return this.#put("vm.pause", deadline);
  }
  resume(deadline: Deadline): Promise<void> {
    return this.#put("vm.resume", deadline);
  }
  /** The VM must be paused and `directory` must exist; writes config.json, state.json and memory-ranges there. */
  snapshot(directory: string, deadline: Deadline): Promise<void> {
    return this.#put("vm.snapshot", deadline, { destination_url: `file://${directory}` });
  }
  /** No VM may exist yet. Leaves the restored one paused. */
  restore(config: RestoreConfig, deadline: Deadline): Promise<void> {
    return this.#put("vm.restore", deadline, config);
  }
  addDisk(disk: DiskConfig, deadline: Deadline): Promise<PciDeviceInfo> {
    return this.#add("vm.add-disk", disk, deadline);
  }
  addNet(net: NetConfig, deadline: Deadline): Promise<PciDeviceInfo> {
    return this.#add("vm.add-net", net, deadline);
  }
  addFs(fs: FsConfig, deadline: Deadline): Promise<PciDeviceInfo> {
    return this.#add("vm.add-fs", fs, deadline);
  }
  /** Asks the guest to let the device go; it is gone with the event `vm device-removed`. */
  removeDevice(id: string, deadline: Deadline): Promise<void> {
    return this.#put("vm.remove-device", deadline, { id });
  }
  /** Deletes the VM and ends the VMM process. */
  shutdownVmm(deadline: Deadline): Promise<void> {
    return this.#put("vmm.shutdown", deadline);
  }

  /** Closes the connection; calls in flight are rejected. */
  close(): void {
    this.#agent.destroy();
  }

  async #get<T>(action: string, deadline: Deadline, is: (value: unknown) => value is T): Promise<T> {
    return decode(action, await this.#call("GET", action, undefined, deadline), is);
  }

  async #put(action: string, deadline: Deadline, body?: object): Promise<void> {
    await this.#call("PUT", action, body, deadline);
  }

  /** 204 without a body means a cold plug, into a VM that is not booted: hull never does that. */
  async #add(action: string, device: object, deadline: Deadline): Promise<PciDeviceInfo> {
    return decode(action, await this.#call("PUT", action, device, deadline), isPciDevice);
  }

  async #call(
    method: "GET" | "PUT",
    action: string,
    body: object | undefined,
    deadline: Deadline,
  ): Promise<string> {
    deadline.check();
    const text = body && JSON.stringify(body);
    const done = this.calls.begin(`cloud-hypervisor: ${action}`);
    const answer = new Promise<string>((resolve, reject) => {
      const call = request({
        agent: this.#agent,
        socketPath: this.socketPath,
        method,
        path: `/api/v1/${action}`,
        headers: {
          accept: "application/json",
          // The VMM knows no chunked bodies, and takes an empty body for one it does not want.
          ...(text && { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
        },
      });
      const fail = (thrown: unknown) => {
        detach();
        reject(thrown);
        call.destroy();
      };
      const detach = deadline.onEnd((reason) => fail(HullError.wrap(`cloud-hypervisor ${action}`, reason)));
      call.on("error", (error) => fail(lost(action, error)));
      call.on("response", (response) => {
        collect(action, response).then((body) => {
          detach();
          resolve(body);
        }, fail);
      });
      call.end(text);
    });
    return await answer.finally(done);
  }
}

/** The connection failed, whatever its errno: the VMM is not there (any more). */
function lost(action: string, error: unknown): HullError {
  const { message } = HullError.from(error);
  return new HullError("Unavailable", `cloud-hypervisor ${action}: ${message}`, { cause: error });
}

/** Reads the answer to its end, never more than MAX_BODY_BYTES, and turns a refusal into its error. */
async function collect(action: string, response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) break; // leaving the loop closes the connection
      chunks.push(chunk);
    }
  } catch (error) {
    throw lost(action, error);
  }
  if (size > MAX_BODY_BYTES) {
    throw resourceExhausted(
      `cloud-hypervisor ${action}: the response is larger than ${MAX_BODY_BYTES} bytes`,
    );
  }
  const text = Buffer.concat(chunks).toString("utf8");
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return text;
  throw new Refusal(action, status, reasonOf(text));
}

/** An error body is a JSON array, the chain of causes from the outermost in; older releases send plain text. */
function reasonOf(body: string): string {
  return printable(chainOf(body) ?? body.trim(), MAX_REASON) || "no reason given";
}

function chainOf(body: string): string | undefined {
  try {
    const chain: unknown = JSON.parse(body);
    return Array.isArray(chain) && chain.length > 0 ? chain.map(textOf).join(": ") : undefined;
  } catch {
    return undefined; // plain text
  }
}

function decode<T>(action: string, text: string, is: (value: unknown) => value is T): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HullError("Internal", `cloud-hypervisor ${action}: the response is not JSON`, { cause: error });
  }
  if (!is(value)) {
    throw new HullError("Internal", `cloud-hypervisor ${action}: the response has an unexpected form`);
  }
  return value;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isPing = (value: unknown): value is VmmPingResponse =>
  isObject(value) && typeof value.version === "string";
const isInfo = (value: unknown): value is VmInfo =>
  isObject(value) && typeof value.state === "string" && isObject(value.config);
const isPciDevice = (value: unknown): value is PciDeviceInfo =>
  isObject(value) && typeof value.id === "string" && typeof value.bdf === "string";
