import { Agent, type IncomingMessage, request } from "node:http";
import type { Deadline } from "../../core/deadline.ts";
import { type ErrorCode, HullError, resourceExhausted } from "../../core/errors.ts";
import { PendingCalls } from "../../core/pending-calls.ts";
import { printable, textOf } from "../../core/printable.ts";
import type {
  DeviceConfig,
  DiskConfig,
  FsConfig,
  NetConfig,
  PciDeviceInfo,
  RestoreConfig,
  VmConfig,
  VmInfo,
  VmmPingResponse,
} from "./api-types.ts";

/** The largest answer that is read. vm.info with its device tree is far smaller. */
const MAX_BODY_BYTES = 4 << 20;

/** The length of a refusal's reason in an error message. */
const MAX_REASON = 1_000;

/**
 * The codes for the statuses that the API document specifies; others become Internal. 404 and 409 are about devices, which
 * are not objects of containerd's, so they are not NotFound and AlreadyExists.
 */
const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: "InvalidArgument",
  404: "FailedPrecondition",
  405: "FailedPrecondition",
  409: "FailedPrecondition",
  413: "InvalidArgument",
  429: "Aborted",
};

/** The VMM's refusal of a call. */
export class Refusal extends HullError {
  constructor(
    action: string,
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
 * A typed client of one VMM's API. Connections are kept alive; the VMM serves one call at a time. Calls reject with
 * `Refusal`, with `Unavailable` if the connection fails (the call may have been carried out), or with the deadline's
 * reason.
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
  /** Writes config.json, state.json and memory-ranges to `directory`, which must exist. The VM must be paused. */
  snapshot(directory: string, deadline: Deadline): Promise<void> {
    return this.#put("vm.snapshot", deadline, { destination_url: `file://${directory}` });
  }
  /** Restores a VM, which is then paused. No VM may exist yet. */
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
  addDevice(device: DeviceConfig, deadline: Deadline): Promise<PciDeviceInfo> {
    return this.#add("vm.add-device", device, deadline);
  }
  /** Asks the guest to release the device. It is removed when the event `vm device-removed` arrives. */
  removeDevice(id: string, deadline: Deadline): Promise<void> {
    return this.#put("vm.remove-device", deadline, { id });
  }
  /** Deletes the VM and makes the VMM exit. */
  shutdownVmm(deadline: Deadline): Promise<void> {
    return this.#put("vmm.shutdown", deadline);
  }

  /** Closes the connections. Pending calls are rejected. */
  close(): void {
    this.#agent.destroy();
  }

  async #get<T>(action: string, deadline: Deadline, is: (value: unknown) => value is T): Promise<T> {
    return decode(action, await this.#call("GET", action, undefined, deadline), is);
  }

  async #put(action: string, deadline: Deadline, body?: object): Promise<void> {
    await this.#call("PUT", action, body, deadline);
  }

  /** The answer has a body because the VM is booted; otherwise it would be 204. */
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
          // The VMM does not support chunked bodies, and rejects any body, even an empty one, for actions without one.
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

/** A failed connection is Unavailable whatever its errno: the VMM is not there, or not any more. */
function lost(action: string, error: unknown): HullError {
  const { message } = HullError.from(error);
  return new HullError("Unavailable", `cloud-hypervisor ${action}: ${message}`, { cause: error });
}

/** Returns the answer's body. Throws ResourceExhausted if it is too large, and Refusal for an error status. */
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

/** An error body is a JSON array, the chain of causes with the outermost first. Older releases send plain text. */
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
