import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MemoryLedger, makeFifo, socketPair, testDirectory } from "../../../test/testkit/streams.ts";
import { within } from "../../../test/testkit/within.ts";
import { pollUntil } from "../../core/poll-until.ts";
import { openProcessIo } from "./host-io.ts";

const NONE = { stdin: "", stdout: "", stderr: "", terminal: false };
const warnings: string[] = [];
const context = (directory: string) => ({
  namespace: "ns",
  containerId: "c1",
  execId: "",
  directory,
  ledger: new MemoryLedger(),
  warn: (message: string) => void warnings.push(message),
});
/** Starts a reader that returns the checksum of what it reads; resolves once it has opened the FIFO. */
async function collect(t: TestContext, path: string): Promise<{ sha: Promise<string> }> {
  const child = spawn("sh", ["-c", `exec < ${path}; echo; exec sha256sum`]);
  t.after(() => child.kill("SIGKILL"));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const sha = once(child, "close").then(() => text.trim().slice(0, 64));
  await once(child.stdout, "data");
  return { sha };
}

test("a stream that is not wanted is not opened", async (t) => {
  const io = await openProcessIo(NONE, context(testDirectory(t)));
  assert.deepEqual(io.wants, { stdin: false, stdout: false, stderr: false });
  io.attach({});
  await io.drained(within(30_000));
  await io.close();
  await io.close();
});

test("FIFOs: a reader that opens the FIFO late gets the output and end of file", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const stderr = makeFifo(join(directory, "err"));
  const io = await openProcessIo({ ...NONE, stdout, stderr }, context(directory));
  const [out, guestOut] = await socketPair(t);
  const [err, guestErr] = await socketPair(t);
  io.attach({ stdout: out, stderr: err });
  const b = await collect(t, stderr);
  const data = randomBytes(1 << 20);
  guestOut.end(data);
  guestErr.end("complaint");
  await assert.rejects(io.drained(within(100)), { code: "DeadlineExceeded" }); // more than the capacity of a FIFO
  const a = await collect(t, stdout);
  await io.drained(within(30_000));
  assert.equal(await a.sha, createHash("sha256").update(data).digest("hex"));
  assert.equal(await b.sha, createHash("sha256").update("complaint").digest("hex"));
  await io.close();
});

test("FIFOs: output that ends before a reader opens the FIFO is kept for it", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const io = await openProcessIo({ ...NONE, stdout }, context(directory));
  const [out, guest] = await socketPair(t);
  io.attach({ stdout: out });
  guest.end("all there is");
  await io.drained(within(30_000));
  const reader = await collect(t, stdout);
  assert.equal(await reader.sha, createHash("sha256").update("all there is").digest("hex"));
  await io.close();
});

test("FIFOs: a new reader gets what was written after the previous one left", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const io = await openProcessIo({ ...NONE, stdout }, context(directory));
  const [out, guest] = await socketPair(t);
  io.attach({ stdout: out });
  const first = spawn("head", ["-c", "4", stdout]);
  guest.write("one\n");
  assert.equal(String((await once(first.stdout, "data"))[0]), "one\n");
  await once(first, "close");
  guest.write("two\n"); // while nobody reads
  const second = await collect(t, stdout);
  guest.write("three\n");
  guest.end();
  await io.drained(within(30_000));
  assert.equal(await second.sha, createHash("sha256").update("two\nthree\n").digest("hex"));
  await io.close();
});

test("a stream that the guest leaves open ends after the bytes that were written", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const io = await openProcessIo({ ...NONE, stdout }, context(directory));
  const [out, guest] = await socketPair(t);
  io.attach({ stdout: out });
  const reader = await collect(t, stdout);
  guest.write("12345");
  const drained = io.drained(within(30_000), { stdout: 10n, stderr: 0n });
  await new Promise((resolve) => setImmediate(resolve));
  guest.write("67890");
  await drained;
  assert.equal(await reader.sha, createHash("sha256").update("1234567890").digest("hex"));
  await io.close();
});

for (const when of ["before", "after"] as const) {
  test(`a guest's stream that is cut ${when} the process has exited is reported`, async (t) => {
    const directory = testDirectory(t);
    const stdout = makeFifo(join(directory, "out"));
    const io = await openProcessIo({ ...NONE, stdout }, context(directory));
    const [out, guest] = await socketPair(t);
    warnings.length = 0;
    io.attach({ stdout: out });
    const reader = await collect(t, stdout);
    guest.write("12345");
    if (when === "before") {
      guest.end();
      await io.drained(within(30_000));
    }
    const drained = io.drained(within(30_000), { stdout: 8n, stderr: 0n });
    if (when === "after") guest.end();
    await drained;
    assert.deepEqual(warnings, ["c1: stdout: the guest's stream ended after 5 of 8 bytes"]);
    assert.equal(await reader.sha, createHash("sha256").update("12345").digest("hex"));
    await io.close();
    assert.equal(warnings.length, 1);
  });
}

test("a stalled reader blocks only its own stream", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const stderr = makeFifo(join(directory, "err"));
  const io = await openProcessIo({ ...NONE, stdout, stderr }, context(directory));
  const [out, guestOut] = await socketPair(t);
  const [err, guestErr] = await socketPair(t);
  io.attach({ stdout: out, stderr: err });
  guestOut.write(randomBytes(4 << 20)); // nobody reads stdout
  const reader = await collect(t, stderr);
  const data = randomBytes(4 << 20);
  guestErr.end(data);
  assert.equal(await reader.sha, createHash("sha256").update(data).digest("hex"));
  assert.ok(guestOut.writableLength > 0, "the guest is held back");
  await io.close();
});

test("256 MiB arrive unchanged, in constant memory", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const io = await openProcessIo({ ...NONE, stdout }, context(directory));
  const [out, guest] = await socketPair(t);
  const chunk = randomBytes(1 << 20);
  const reader = spawn("sh", ["-c", `cat ${stdout} | sha256sum`]);
  const text = once(reader.stdout.setEncoding("utf8"), "data");
  io.attach({ stdout: out });
  const hash = createHash("sha256");

  const write = () => new Promise<void>((resolve) => guest.write(chunk, () => resolve()));
  for (let i = 0; i < 16; i++) {
    hash.update(chunk);
    await write();
  }
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().external;
  const started = performance.now();
  for (let i = 0; i < 240; i++) {
    hash.update(chunk);
    await write();
  }
  guest.end();
  await io.drained(within(60_000));
  const grown = process.memoryUsage().arrayBuffers + process.memoryUsage().external - before;
  t.diagnostic(
    `${Math.round((240 * 1.048576) / ((performance.now() - started) / 1000))} MB/s incl. two checksums`,
  );
  assert.equal(String((await text)[0]).slice(0, 64), hash.digest("hex"));
  assert.ok(grown < 4 << 20, `buffers grew by ${grown} bytes`);
  await io.close();
});

test("stdin: clients may change, end of file comes after CloseIO and the last client", async (t) => {
  const directory = testDirectory(t);
  const stdin = makeFifo(join(directory, "in"));
  const io = await openProcessIo({ ...NONE, stdin }, context(directory));
  assert.equal(io.wants.stdin, true);
  const [sink, guest] = await socketPair(t);
  io.attach({ stdin: sink });
  let got = "";
  guest.setEncoding("utf8").on("data", (chunk: string) => {
    got += chunk;
  });
  const ended = once(guest, "end");
  for (const word of ["one ", "two "]) {
    const client = spawn("sh", ["-c", `printf '${word}' > ${stdin}`]);
    await once(client, "close");
  }
  const last = spawn("sh", ["-c", `exec > ${stdin}; read x; printf three`]);
  await once(last, "spawn");
  const big = openSync(stdin, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(big, "big ");
  io.closeStdin();
  writeSync(big, "bigger "); // clients still have it open
  await pollUntil(() => got.endsWith("bigger "), within(20_000));
  assert.equal(guest.readableEnded, false);
  last.stdin.end("go\n");
  await once(last, "close");
  closeSync(big);
  await ended;
  assert.equal(got, "one two big bigger three");
  await io.close();
});

test("stdin: 8 MiB arrive from a client that writes before the streams are attached", async (t) => {
  const directory = testDirectory(t);
  const stdin = makeFifo(join(directory, "in"));
  const io = await openProcessIo({ ...NONE, stdin }, context(directory));
  const data = randomBytes(8 << 20);
  writeFileSync(join(directory, "data"), data);
  const client = spawn("sh", ["-c", `cat ${join(directory, "data")} > ${stdin}`]);
  await once(client, "spawn");
  const [sink, guest] = await socketPair(t);
  io.attach({ stdin: sink });
  const hash = createHash("sha256");
  guest.on("data", (chunk) => hash.update(chunk));
  const ended = once(guest, "end");
  await once(client, "close");
  io.closeStdin();
  await ended;
  assert.equal(hash.digest("hex"), createHash("sha256").update(data).digest("hex"));
  await io.close();
});

test("stdin: a client that still writes gets SIGPIPE if the guest closes it", async (t) => {
  const directory = testDirectory(t);
  const stdin = makeFifo(join(directory, "in"));
  const io = await openProcessIo({ ...NONE, stdin }, context(directory));
  const [sink, guest] = await socketPair(t);
  io.attach({ stdin: sink });
  const client = spawn("sh", ["-c", `exec cat /dev/zero > ${stdin}`]);
  await once(guest, "data");
  guest.destroy();
  const [, signal] = await once(client, "close");
  assert.equal(signal, "SIGPIPE");
  await io.close();
});

test("file://: both streams are appended to one file, and its directories are created", async (t) => {
  const directory = testDirectory(t);
  const path = join(directory, "a", "b", "log");
  for (let run = 0; run < 2; run++) {
    const io = await openProcessIo(
      { ...NONE, stdout: `file://${path}`, stderr: `file://${path}` },
      context(directory),
    );
    const [out, guestOut] = await socketPair(t);
    const [err, guestErr] = await socketPair(t);
    io.attach({ stdout: out, stderr: err });
    guestOut.end("out\n");
    guestErr.end("err\n");
    await io.drained(within(30_000));
    await io.close();
  }
  assert.deepEqual(readFileSync(path, "utf8").trim().split("\n").sort(), ["err", "err", "out", "out"]);
  assert.equal(statSync(path).mode & 0o777, 0o644);
});

test("output is discarded if its target fails", async (t) => {
  const directory = testDirectory(t);
  const io = await openProcessIo({ ...NONE, stdout: "file:///dev/full" }, context(directory));
  const [out, guest] = await socketPair(t);
  io.attach({ stdout: out });
  warnings.length = 0;
  guest.end(randomBytes(4 << 20));
  await io.drained(within(30_000));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /c1: stdout: output is discarded from now on: ENOSPC/);
  await io.close();
});

test("a target that cannot be opened is an error, and nothing stays open", async (t) => {
  const directory = testDirectory(t);
  const stdout = makeFifo(join(directory, "out"));
  const count = () => readdirSync("/proc/self/fd").length;
  const before = count();
  const cases: [object, string, RegExp][] = [
    [{ stdout: "npipe:///x" }, "InvalidArgument", /scheme npipe is not supported/],
    [{ stdout: "ttrpc+unix:///x?streaming_id=1" }, "InvalidArgument", /scheme ttrpc\+unix/],
    [{ stdout: "relative" }, "InvalidArgument", /not absolute/],
    [{ stdout, stderr: join(directory, "missing") }, "NotFound", /stdio FIFO .*missing/],
    [{ stdout, stdin: join(directory, "missing") }, "NotFound", /stdio FIFO .*missing/],
    [{ stdout: "/etc/passwd" }, "InvalidArgument", /not a FIFO/],
    [{ stdout, stderr: "file:///tmp/x" }, "InvalidArgument", /only together with stdout/],
  ];
  for (const [stdio, code, message] of cases) {
    await assert.rejects(
      openProcessIo({ ...NONE, ...stdio }, context(directory)),
      (error: Error & { code: string }) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(count(), before);
});

test("stdin: closing it before end of file closes the guest's stream, too", async (t) => {
  const directory = testDirectory(t);
  const stdin = makeFifo(join(directory, "in"));
  const io = await openProcessIo({ ...NONE, stdin }, context(directory));
  const [sink, guest] = await socketPair(t);
  io.attach({ stdin: sink });
  const ended = once(guest.resume(), "end");
  await io.close();
  await within(30_000).race(ended);
});
