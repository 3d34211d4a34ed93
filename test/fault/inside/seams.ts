import childProcess from "node:child_process";
import { readFileSync } from "node:fs";
import promises from "node:fs/promises";
import { Socket } from "node:net";
import { basename } from "node:path";
import type { Resource } from "../../../src/core/ledger.ts";
import { ROLE_MARK } from "../../../src/host/proc.ts";
import { decodeRequest } from "../../../src/ttrpc/envelope.ts";
import { FrameDecoder, FrameType, HEADER_LENGTH, MAX_PAYLOAD } from "../../../src/ttrpc/frame.ts";
import type { Control } from "./control.ts";

/**
 * The places at which a shim can be made to fail, without a line in the shim: Node's own functions are
 * wrapped.
 *
 *   recorded:<resource>      the ledger on disk contains a resource that is created next: `recorded:qemu`,
 *                            `recorded:directory.vm`, `recorded:tap`
 *   spawn:<role>             a helper or the VMM is about to be started
 *   spawned:<role>           it has been started; its PID is not in the ledger yet
 *   call:<Service>.<Method>  a request has arrived (Task, Sandbox) or is about to be sent (Agent, Events)
 *   answer:<Service>.<Method>  its answer is about to be sent, or has arrived
 */
export function installSeams(control: Control): void {
  watchLedger(control);
  watchSpawns(control);
  watchFrames(control);
}

function watchLedger(control: Control): void {
  const { rename } = promises;
  const known = new Set<string>();
  promises.rename = async (from, to) => {
    const written = String(to).endsWith("/state.json") ? labels(readFileSync(from, "utf8")) : [];
    await rename(from, to);
    for (const label of written) {
      if (known.has(label)) continue;
      known.add(label);
      control.hit(`recorded:${label}`);
    }
    // A removed entry may be recorded again.
    if (String(to).endsWith("/state.json"))
      for (const label of known) if (!written.includes(label)) known.delete(label);
  };
}

function labels(state: string): string[] {
  const { resources } = JSON.parse(state) as { resources: Resource[] };
  return resources.map((resource) => {
    if (resource.kind === "process") return resource.role;
    const path = "path" in resource && resource.kind !== "cgroup" ? `.${basename(resource.path)}` : "";
    return `${resource.kind}${path}`;
  });
}

function watchSpawns(control: Control): void {
  const { spawn } = childProcess;
  const wrapped = (...args: Parameters<typeof spawn>): childProcess.ChildProcess => {
    const options = args.find((arg) => typeof arg === "object" && !Array.isArray(arg));
    const role = (options as childProcess.SpawnOptions | undefined)?.env?.[ROLE_MARK];
    if (role === undefined) return spawn(...args);
    control.hit(`spawn:${role}`);
    const child = spawn(...args);
    if (child.pid !== undefined) control.started.set(role, child.pid);
    control.hit(`spawned:${role}`);
    return child;
  };
  childProcess.spawn = wrapped as typeof spawn;
}

type Direction = "in" | "out";

/** The traffic of a socket in both directions, while it is ttrpc. */
class Conversation {
  /** The streams of requests in each direction. */
  readonly #methods = { in: new Map<number, string>(), out: new Map<number, string>() };
  readonly #decoders: { [D in Direction]?: FrameDecoder | "not ttrpc" } = {};

  constructor(readonly control: Control) {}

  bytes(direction: Direction, chunk: Uint8Array): void {
    this.#decoders[direction] ??= looksLikeTtrpc(chunk) ? this.#decoder(direction) : "not ttrpc";
    const decoder = this.#decoders[direction];
    if (decoder !== "not ttrpc") decoder?.push(chunk);
  }

  #decoder(direction: Direction): FrameDecoder {
    const asked = this.#methods[direction];
    const answered = this.#methods[direction === "in" ? "out" : "in"];
    return new FrameDecoder({
      frame: (stream, type, _flags, payload) => {
        if (type === FrameType.Request) {
          const { service, method } = decodeRequest(payload);
          const name = `${service.split(".").at(-1)}.${method}`;
          asked.set(stream, name);
          this.control.hit(`call:${name}`);
        } else if (type === FrameType.Response) {
          const name = answered.get(stream);
          if (name !== undefined) this.control.hit(`answer:${name}`);
          answered.delete(stream);
        }
      },
      oversize: () => undefined,
    });
  }
}

function looksLikeTtrpc(chunk: Uint8Array): boolean {
  if (chunk.length < HEADER_LENGTH) return false;
  const { buffer, byteOffset, length } = chunk;
  const payload = new DataView(buffer, byteOffset, length).getUint32(0);
  const type = chunk[8] ?? 0;
  return payload <= MAX_PAYLOAD && type >= FrameType.Request && type <= FrameType.Data;
}

/** The two functions through which Node moves a socket's data. */
interface StreamFunctions {
  write(chunk: unknown, ...rest: unknown[]): boolean;
  push(chunk: unknown, ...rest: unknown[]): boolean;
}

function watchFrames(control: Control): void {
  const conversations = new WeakMap<object, Conversation>();
  const functions = Socket.prototype as unknown as StreamFunctions;
  const { write, push } = functions;
  const observe = (socket: Socket, direction: Direction, chunk: unknown) => {
    if (!(chunk instanceof Uint8Array) || chunk.length === 0) return;
    const conversation = conversations.get(socket) ?? new Conversation(control);
    conversations.set(socket, conversation);
    try {
      conversation.bytes(direction, chunk);
    } catch (error) {
      socket.destroy(error as Error); // a message can only fail with its connection
    }
  };
  functions.write = function (this: Socket, ...args: Parameters<StreamFunctions["write"]>) {
    observe(this, "out", args[0]);
    return write.apply(this as unknown as StreamFunctions, args);
  };
  functions.push = function (this: Socket, ...args: Parameters<StreamFunctions["push"]>) {
    observe(this, "in", args[0]);
    return push.apply(this as unknown as StreamFunctions, args);
  };
}
