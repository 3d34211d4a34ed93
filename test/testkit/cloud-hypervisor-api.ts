import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Device, FakeVmDevices } from "./cloud-hypervisor-api-devices.ts";
import { BODIES, violation } from "./cloud-hypervisor-api-schema.ts";
import { type FakeEvent, FakeVm, Refusal } from "./cloud-hypervisor-api-vm.ts";

/** A fault that occurs at an action: `times` times, or every time. */
export type Fault = { readonly on: string; readonly times?: number } & (
  | { readonly do: "delay"; readonly ms: number }
  | { readonly do: "error"; readonly status: number; readonly body: string }
  /** Closes the connection without an answer; with `after`, carries the call out first. */
  | { readonly do: "drop"; readonly after?: boolean }
  /** The VMM dies during the call. */
  | { readonly do: "die" }
  /** Answers 200 with this body. */
  | { readonly do: "answer"; readonly body: string }
  /** Sends an endless answer. */
  | { readonly do: "flood" }
);

interface FakeOptions {
  readonly faults?: readonly Fault[];
  /** Whether to check that disks, taps and virtiofsd sockets exist, as the real VMM does. Default true. */
  readonly checkHost?: boolean;
  /** Path of the program open-tap.c, which opens taps. */
  readonly tapOpener?: string;
  readonly onEvent?: (event: FakeEvent) => void;
  /** The guest's serial output. */
  readonly onPrint?: (text: string) => void;
  /** The VMM exits: `died` after a fault, `shutdown` after vmm.shutdown or power-off of the guest. */
  readonly onExit?: (how: "shutdown" | "died") => void;
}

/** The largest request body, as in vmm/src/api/http/mod.rs. */
const MAX_REQUEST_BYTES = 4 << 20;

/**
 * A server for Cloud Hypervisor's API: checks bodies strictly against the published schema, keeps the VM's
 * state, refuses calls in the wrong state as the real one does, and can simulate faults.
 */
export class FakeCloudHypervisor {
  readonly vm: FakeVm;
  /** Every call in order of arrival: the action and its body. */
  readonly calls: { readonly action: string; readonly body: unknown }[] = [];
  readonly #faults: { fault: Fault; left: number }[];
  readonly #devices: FakeVmDevices;
  readonly #server: Server;
  #ended = false;

  constructor(readonly options: FakeOptions = {}) {
    this.#faults = (options.faults ?? []).map((fault) => ({
      fault,
      left: fault.times ?? Number.POSITIVE_INFINITY,
    }));
    this.#devices = new FakeVmDevices(options.checkHost ?? true, options.tapOpener);
    this.vm = new FakeVm({
      emit: (event) => options.onEvent?.(event),
      print: (text) => options.onPrint?.(text),
      boot: (rng) => this.#devices.boot(rng),
      attach: (kind, device) => this.#devices.attach(kind, device),
      detachAll: () => this.#devices.detachAll(),
    });
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        response.writeHead(500).end(JSON.stringify([String(error)]));
      });
    });
    this.#server.keepAliveTimeout = 0; // the real server keeps idle connections
  }

  /** Listens on a path, or on an inherited listening socket. */
  listen(at: { path: string } | { fd: number }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(at, () => resolve());
    });
  }

  /** Calls `listener` for every connection from now on. */
  onConnection(listener: () => void): void {
    this.#server.on("connection", listener);
  }

  /** Adds a fault. */
  fail(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY });
  }

  /** Stops serving and closes everything; calls `onExit` once. */
  async end(how: "shutdown" | "died"): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#devices.detachAll();
    this.options.onExit?.(how);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const action = (request.url ?? "").replace(/^\/api\/v1\//, "");
    const text = await readBody(request);
    if (text === undefined) {
      send(response, 413, JSON.stringify(["Request payload is too large"]));
      return;
    }
    const body: unknown = text === "" ? undefined : parseJson(text);
    this.calls.push({ action, body });
    const entry = this.#faults.find(({ fault, left }) => fault.on === action && left > 0);
    if (entry) entry.left--;
    const fault = entry?.fault;
    if (fault && !(await this.#before(fault, response))) return;
    let answer: { status: number; body: string };
    try {
      const result = await this.#act(request.method ?? "", action, body);
      answer = {
        status: result.status,
        body: result.value === undefined ? "" : JSON.stringify(result.value),
      };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answer = { status: error.status, body: JSON.stringify(error.chain) };
    }
    if (fault?.do === "drop") {
      response.destroy();
      return;
    }
    send(response, answer.status, answer.body);
    if (action === "vmm.shutdown" && answer.status === 200)
      response.on("close", () => void this.end("shutdown"));
  }

  /** Applies a fault before the call is carried out. Resolves with false if the call ends here. */
  async #before(fault: Fault, response: ServerResponse): Promise<boolean> {
    switch (fault.do) {
      case "delay":
        await sleep(fault.ms);
        return true;
      case "error":
        send(response, fault.status, fault.body);
        return false;
      case "drop":
        if (fault.after) return true;
        response.destroy();
        return false;
      case "die":
        response.destroy();
        await this.end("died");
        return false;
      case "answer":
        send(response, 200, fault.body);
        return false;
      case "flood":
        await flood(response);
        return false;
    }
  }

  async #act(method: string, action: string, body: unknown): Promise<{ status: number; value?: object }> {
    if (method === "GET") {
      if (action === "vmm.ping") return { status: 200, value: this.#pong() };
      if (action === "vm.info") return { status: 200, value: this.vm.info() };
      if (action === "vm.counters") return { status: 200, value: this.vm.counters() };
      throw Object.hasOwn(BODIES, action)
        ? new Refusal(400, ["Bad Request"])
        : new Refusal(404, ["Not Found"]);
    }
    if (method !== "PUT") throw new Refusal(400, []);
    const shape = Object.hasOwn(BODIES, action) ? BODIES[action] : undefined;
    if (shape === undefined) throw new Refusal(404, ["Not Found"]);
    if ((shape === null) !== (body === undefined)) throw new Refusal(400, ["Bad Request"]);
    const wrong = shape && violation(body, shape);
    if (wrong) throw new Refusal(400, ["Failed to deserialize JSON", wrong]);
    // biome-ignore lint/suspicious/noExplicitAny: the schema has just checked it
    return await this.#put(action, body as any);
  }

  // biome-ignore lint/suspicious/noExplicitAny: the schema has checked it
  async #put(action: string, body: any): Promise<{ status: number; value?: object }> {
    const { vm } = this;
    const added = (value: object | undefined) => (value ? { status: 200, value } : { status: 204 });
    switch (action) {
      case "vmm.shutdown":
        await vm.delete();
        this.options.onEvent?.({ source: "vmm", event: "shutdown" });
        return { status: 200 };
      case "vm.add-disk":
        return added(await vm.add(action, "disks", body as Device));
      case "vm.add-net":
        return added(await vm.add(action, "net", body as Device));
      case "vm.add-fs":
        return added(await vm.add(action, "fs", body as Device));
      case "vm.add-device":
        return added(await vm.add(action, "devices", body as Device));
      case "vm.add-pmem":
        return added(await vm.add(action, "pmem", body as Device));
      case "vm.create":
        vm.create(body);
        break;
      case "vm.boot":
        await vm.boot();
        break;
      case "vm.delete":
        await vm.delete();
        break;
      case "vm.pause":
        vm.pause();
        break;
      case "vm.resume":
        vm.resume();
        break;
      case "vm.shutdown":
        await vm.shutdown();
        break;
      case "vm.reboot":
        vm.reboot();
        break;
      case "vm.power-button":
        vm.powerButton();
        break;
      case "vm.resize":
        vm.resize(body);
        break;
      case "vm.remove-device":
        vm.removeDevice(body.id);
        break;
      case "vm.snapshot":
        vm.snapshot(body.destination_url);
        break;
      case "vm.restore":
        await vm.restore(body.source_url, body.resume === true);
        break;
      default:
        throw new Refusal(404, ["Not Found"]);
    }
    return { status: 204 };
  }

  #pong(): object {
    return { build_version: "v53.0-fake", version: "53.0.0", pid: process.pid, features: ["kvm"] };
  }
}

function send(response: ServerResponse, status: number, body: string): void {
  response.setHeader("server", "Cloud Hypervisor API");
  if (status === 204) response.writeHead(204).end();
  else
    response
      .writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
      .end(body);
}

/** Returns the body as text, or undefined if it is larger than the server accepts. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_REQUEST_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A body that is not JSON becomes a string, which no schema accepts. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function flood(response: ServerResponse): Promise<void> {
  const closed = new Promise((resolve) => response.once("close", resolve));
  response.writeHead(200);
  while (!response.destroyed) {
    const drained = new Promise((resolve) => response.once("drain", resolve));
    response.write(Buffer.alloc(64 * 1024, "x"));
    await Promise.race([drained, closed]);
  }
}
