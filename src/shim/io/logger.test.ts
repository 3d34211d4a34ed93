import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MemoryLedger, socketPair, testDirectory } from "../../../test/testkit/streams.ts";
import { within } from "../../../test/testkit/within.ts";
import { pollUntil } from "../../core/poll-until.ts";
import { openProcessIo } from "./host-io.ts";

/** Opens the streams of exec e1 with the logger of test/fixtures/ in `mode`. */
function open(t: TestContext, mode: string, scheme = "binary") {
  const work = testDirectory(t);
  const ledger = new MemoryLedger();
  const file = join(work, "log");
  const logger = join(work, "logger.mjs");
  const source = readFileSync(new URL("../../../test/fixtures/json-logger.mjs", import.meta.url), "utf8");
  // A logger does not get PATH, so the path of the interpreter is absolute.
  writeFileSync(logger, `#!${process.execPath}\n${source}`, { mode: 0o755 });
  const uri = `${scheme}://${logger}?${new URLSearchParams({ file, mode })}`;
  const lines = () =>
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const opening = openProcessIo(
    { stdin: "/nonexistent", stdout: uri, stderr: uri, terminal: false },
    {
      namespace: "ns",
      containerId: "c1",
      execId: "e1",
      directory: work,
      ledger,
      warn: () => undefined,
      loggerTimeouts: {
        ready: mode === "never-ready" ? 1500 : 60_000,
        exit: mode === "stubborn" ? 1000 : 60_000,
        kill: 500,
      },
    },
  );
  return { opening, ledger, lines, work };
}

for (const [mode, scheme] of [
  ["", "binary"],
  ["report", "binary-v2"],
  ["flood", "binary"],
] as const) {
  test(`${scheme}:// logger, mode "${mode}": gets every line of both streams`, async (t) => {
    const { opening, ledger, lines, work } = open(t, mode, scheme);
    const io = await opening;
    assert.deepEqual(io.wants, { stdin: false, stdout: true, stderr: true });
    assert.deepEqual(lines(), [
      { env: "e1", namespace: "ns", names: ["CONTAINER_ID", "CONTAINER_NAMESPACE"], fifos: true },
    ]);
    const [recorded] = [...ledger.resources];
    assert.equal(recorded?.resource.kind === "process" && recorded.resource.role, "logger");
    assert.ok(recorded?.resource.kind === "process" && (recorded.resource.pid ?? 0) > 0);
    const [out, guestOut] = await socketPair(t);
    const [err, guestErr] = await socketPair(t);
    io.attach({ stdout: out, stderr: err });
    guestOut.end(Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join(""));
    guestErr.end("complaint\n");
    await io.drained(within(60_000));
    await io.close();
    const logs = (stream: string) => lines().flatMap((line) => (line.stream === stream ? [line.log] : []));
    assert.equal(logs("stdout").length, 5000);
    assert.equal(logs("stdout").at(-1), "line 4999");
    assert.deepEqual(logs("stderr"), ["complaint"]);
    assert.equal(ledger.resources.size, 0);
    assert.deepEqual(readdirSync(work).sort(), ["log", "logger.mjs"]);
  });
}

for (const [name, mode, scheme, message] of [
  [
    "dies early",
    "die",
    "binary",
    /logger .*logger\.mjs: exited with status 7 before it was ready: no space left/,
  ],
  ["exits without any output", "die-quietly", "binary", /exited with status 0 before it was ready/],
  ["is never ready", "never-ready", "binary", /waiting until it is ready: timed out after 1500 ms/],
  ["closes without reporting", "", "binary-v2", /closed its ready pipe without reporting/],
] as const) {
  test(`a logger that ${name} fails the call with the reason, and nothing is left`, async (t) => {
    const before = readdirSync("/proc/self/fd").length;
    const { opening, ledger } = open(t, mode, scheme);
    await assert.rejects(opening, message);
    assert.equal(ledger.resources.size, 0);
    // Sockets close asynchronously.
    await pollUntil(
      () => readdirSync("/proc/self/fd").length <= before,
      within(20_000, "descriptors are left"),
    );
  });
}

test("a logger that does not exist is NotFound", async (t) => {
  const work = testDirectory(t);
  const ledger = new MemoryLedger();
  const context = {
    namespace: "ns",
    containerId: "c1",
    execId: "",
    directory: work,
    ledger,
    warn: () => undefined,
  };
  const stdio = { stdin: "", stdout: "binary:///nonexistent/logger", stderr: "", terminal: false };
  await assert.rejects(openProcessIo(stdio, context), { code: "NotFound" });
  assert.equal(ledger.resources.size, 0);
});

test("a logger that does not exit gets SIGTERM, then SIGKILL", async (t) => {
  const { opening, ledger, lines } = open(t, "stubborn");
  const io = await opening;
  const started = performance.now();
  await io.close();
  assert.ok(performance.now() - started >= 1400, "it got its timeouts");
  assert.deepEqual(lines().at(-1), { signal: "SIGTERM" });
  assert.equal(ledger.resources.size, 0);
});
