/** What hull relies on in a vsock, over every transport that this host has, with QEMU and a guest whose init answers. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NativeVsock } from "../../src/vsock/native.ts";
import { requireFiles } from "../testkit/required-files.ts";
import { type VsockGuest, VsockGuests } from "../testkit/vsock-guest.ts";
import { within } from "../testkit/within.ts";

const dist = join(import.meta.dirname, "../../dist");
requireFiles(
  [join(dist, "guest/vmlinux"), join(dist, "guest/initrd.img"), "/usr/bin/qemu-system-x86_64"],
  "run hack/setup and hack/build-guest",
);
const PORT = 2000;
const UNUSED_PORT = 2001;
const LIMIT_MS = 60_000;
const noKernelVsock = !existsSync("/dev/vhost-vsock") && "this host has no /dev/vhost-vsock";

let guests: VsockGuests;
before(async () => {
  guests = await VsockGuests.prepare();
});
after(() => guests.remove());

/** Connects and sends a command. */
async function ask({ backend }: VsockGuest, command: string): Promise<Socket> {
  const socket = await backend.connect(PORT, within(LIMIT_MS, "connect"));
  socket.on("error", () => undefined); // where one is expected, `ended` sees it
  socket.write(`${command}\n`);
  return socket;
}

/** Reads `size` bytes, or to the end. */
async function read(socket: Socket, size = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const done = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= size) resolve();
    });
    for (const end of ["end", "close", "error"]) socket.once(end, resolve);
    socket.resume();
  });
  await within(LIMIT_MS, "read").race(done);
  socket.removeAllListeners("data").pause();
  return Buffer.concat(chunks);
}

/** Resolves when a stream has ended, in whatever way; a reset is one. */
function ended(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    for (const end of ["end", "close", "error"]) socket.once(end, () => resolve());
    socket.resume();
  });
}

const pattern = (size: number) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i % (1 << 14)) % 251));

/** What the guest's `sink` replies for these bytes. */
function sum(data: Buffer): string {
  let sum = 1;
  for (const byte of data) sum = Math.imul(sum ^ byte, 16777619) >>> 0;
  return `${data.length} ${sum}\n`;
}

/** Writes until the other side takes no more for a second; returns what was not accepted. */
async function writeUntilBlocked(socket: Socket, data: Buffer): Promise<Buffer> {
  const step = 1 << 16;
  for (let sent = 0; sent < data.length; ) {
    const flowing = socket.write(data.subarray(sent, sent + step));
    sent += step;
    if (!flowing && (await Promise.race([once(socket, "drain").then(() => false), sleep(1_000, true)])))
      return data.subarray(sent);
  }
  return Buffer.alloc(0);
}

async function last(guest: VsockGuest): Promise<string> {
  const socket = await ask(guest, "last");
  const answer = await read(socket);
  socket.destroy();
  return String(answer);
}

async function stop({ vm, backend, ledger }: VsockGuest): Promise<void> {
  await vm.stop(within(LIMIT_MS));
  await backend.close(within(LIMIT_MS));
  await backend.close(within(LIMIT_MS));
  assert.deepEqual(ledger.resources, []);
}

for (const [kind, skip] of [
  ["hybrid", process.env.HULL_VSOCK === "native" && "HULL_VSOCK is native"],
  ["native", noKernelVsock],
] as const) {
  describe(`vsock transport: ${kind}`, { skip }, () => {
    let guest: VsockGuest;
    let agent: Socket;
    before(async () => {
      guest = await guests.boot(kind, "first");
    });
    after(async () => {
      agent?.destroy();
      await stop(guest);
    });

    test("the agent's connection opens once the guest is up, and carries data in both directions", async () => {
      agent = await guest.backend.agent(within(120_000, "the agent"));
      agent.write("who\n");
      assert.equal(String(await read(agent, 6)), "first\n");
    });

    test("a stream carries 2 MiB in both directions at once, unchanged", async () => {
      const data = randomBytes(2 << 20);
      const socket = await ask(guest, "echo");
      const received = read(socket, data.length);
      socket.write(data);
      assert.ok(data.equals(await received));
      socket.destroy();
    });

    test("sixty streams at once each get their own data", async () => {
      await Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          const socket = await ask(guest, "echo");
          const text = `stream ${index} `.repeat(500);
          const received = read(socket, text.length);
          socket.write(text);
          assert.equal(String(await received), text);
          socket.destroy();
        }),
      );
    });

    test("a host that does not read blocks only that stream's writer, and loses nothing", async () => {
      const size = 3 << 20;
      const stalled = await ask(guest, `source ${size}`);
      stalled.pause();
      await sleep(500);
      const other = await ask(guest, "who");
      assert.equal(String(await read(other, 6)), "first\n");
      other.destroy();
      assert.ok(pattern(size).equals(await read(stalled, size)));
      stalled.destroy();
    });

    test("a guest that does not read blocks only that stream's writer, and gets everything up to the host's end", async () => {
      const data = randomBytes(4 << 20);
      const stalled = await ask(guest, "stall");
      const rest = await writeUntilBlocked(stalled, data);
      assert.ok(rest.length > 1 << 20, `${data.length - rest.length} bytes were accepted`);
      const other = await ask(guest, "who");
      assert.equal(String(await read(other, 6)), "first\n");
      other.destroy();
      (await ask(guest, "resume")).destroy();
      stalled.end(rest);
      await within(LIMIT_MS, "the guest's close").race(ended(stalled));
      assert.equal(await last(guest), sum(data));
      stalled.destroy();
    });

    test("a connect to a port where nothing listens ends at its deadline at the latest", async () => {
      const began = performance.now();
      await assert.rejects(guest.backend.connect(UNUSED_PORT, within(2_000, "connect")), {
        code: /^(Unavailable|DeadlineExceeded)$/,
      });
      assert.ok(performance.now() - began < 10_000);
    });

    test("two pods have guests of their own", async () => {
      const second = await guests.boot(kind, "second");
      try {
        const call = await second.backend.agent(within(120_000, "the agent"));
        call.write("who\n");
        assert.equal(String(await read(call, 7)), "second\n");
        assert.notEqual(second.backend.address, guest.backend.address);
        const [one, two] = [await ask(guest, "who"), await ask(second, "who")];
        assert.deepEqual([String(await read(one, 6)), String(await read(two, 7))], ["first\n", "second\n"]);
        for (const socket of [call, one, two]) socket.destroy();
      } finally {
        await stop(second);
      }
    });

    for (const [how, end] of [
      ["powers off", (dying: VsockGuest) => ask(dying, "die")],
      ["is killed", async ({ vm }: VsockGuest) => process.kill(vm.pid, "SIGKILL")],
    ] as const) {
      test(`when a VM ${how}, its streams end and its port is closed`, async () => {
        const dying = await guests.boot(kind, "dying");
        try {
          const streams = [
            await dying.backend.agent(within(120_000, "the agent")),
            await ask(dying, "stall"),
          ];
          const ends = streams.map((stream) => ended(stream.on("error", () => undefined)));
          await end(dying);
          await within(LIMIT_MS, "the VM's end").race(dying.vm.exited);
          await within(LIMIT_MS, "the streams' end").race(Promise.all(ends));
          await assert.rejects(dying.backend.connect(PORT, within(2_000, "connect")));
          for (const stream of streams) stream.destroy();
        } finally {
          await stop(dying);
        }
      });
    }
  });
}

test("auto takes the kernel's vsock where there is one, and a backend in user space elsewhere", async () => {
  const { backend, ledger } = await guests.open("auto");
  assert.equal(backend.device.kind, noKernelVsock ? "vhost-user" : "vhost");
  await backend.close(within(LIMIT_MS));
  assert.deepEqual(ledger.resources, []);
});

describe("vsock: the kernel's own", { skip: noKernelVsock }, () => {
  const vsock = new NativeVsock(join(dist, "lib/vsock.node"));

  test("a half-close ends one direction only", async () => {
    const guest = await guests.boot("native", "half");
    try {
      (await guest.backend.agent(within(120_000, "the agent"))).destroy();
      const socket = await ask(guest, "sink");
      const data = randomBytes(100_000);
      socket.end(data);
      assert.equal(String(await read(socket)), sum(data));
      socket.destroy();
    } finally {
      await stop(guest);
    }
  });

  test("a running VM keeps its context id without the shim's copy, and frees it at its end", async () => {
    const guest = await guests.boot("native", "cid");
    const cid = Number(guest.backend.address.replace("cid:", ""));
    (await guest.backend.agent(within(120_000, "the agent"))).destroy();
    assert.throws(() => vsock.reserve(cid), { message: /address already in use/ });
    await stop(guest);
    vsock.reserve(cid).release();
  });

  test("200 pods get 200 context ids, which are free again after their release", () => {
    const reserved = Array.from({ length: 200 }, () => vsock.reserveCid());
    const ids = new Set(reserved.map(({ cid }) => cid));
    assert.equal(ids.size, 200);
    for (const { cid } of reserved)
      assert.throws(() => vsock.reserve(cid), { message: /address already in use/ });
    for (const { release } of reserved) release();
    for (const cid of ids) vsock.reserve(cid).release();
  });
});
