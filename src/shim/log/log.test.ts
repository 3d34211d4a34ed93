import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { HullError } from "../../core/errors.ts";
import { printable } from "../../core/printable.ts";
import { createLog, FifoSink } from "./log.ts";

test("lines are dropped whole while nobody reads, and logging works again afterwards", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "hull-log-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "log");
  execFileSync("mkfifo", [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(fd));
  const sink = new FifoSink(fd);
  const log = createLog("info", { pod: "p" }, sink);
  log.debug("below the level");
  for (let i = 0; i < 500; i++) log.info({ i, fill: "x".repeat(i % 2 ? 100 : 9000) }, "message");
  assert.ok(sink.dropped > 0 && sink.dropped < 500);
  const read = () => {
    const buffer = Buffer.alloc(1 << 20);
    return buffer.toString("utf8", 0, readSync(fd, buffer));
  };
  let text = read();
  log.info("again");
  text += read();
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { msg: string; pod: string });
  assert.deepEqual([lines[0]?.msg, lines[0]?.pod, lines.at(-1)?.msg], ["message", "p", "again"]);
});

test("a descriptor that cannot be written to is not an error", () => {
  const sink = new FifoSink(openSync("/dev/full", constants.O_WRONLY));
  createLog("info", {}, sink).info("x");
  assert.equal(sink.dropped, 1);
});

test("an error and its causes are logged without terminal control sequences, and no longer than a line may be", () => {
  const lines: string[] = [];
  const log = createLog("info", {}, { write: (line) => void lines.push(line), dropped: 0 });
  const cause = new Error(`\x1b]0;owned\x07\x9b2J\u202e${"no ".repeat(20_000)}`);
  const err = new HullError("Unknown", "stop", { cause: HullError.wrap("shutdown", cause) });
  log.warn({ err }, "failed");
  log.warn({ err: "no error" }, "failed");
  const several = new AggregateError([cause], "teardown");
  log.warn({ err: Object.assign(several, { stderr: cause.message }) }, "failed");
  const [first = "", second = "", third = ""] = lines;
  assert.ok(first.length < 16 * 1024, `${first.length} characters`);
  const { err: logged } = JSON.parse(first) as { err: { message: string; stack: string; code: string } };
  assert.equal(logged.code, "Unknown");
  assert.match(logged.message, /^stop: shutdown: no no/);
  for (const text of [first, logged.message, logged.stack]) assert.equal(printable(text), text);
  assert.equal((JSON.parse(second) as { err: unknown }).err, "no error");
  assert.ok(third.length < 16 * 1024 && third.includes("aggregateErrors"), `${third.length} characters`);
  assert.equal(printable(third), third);
});

test("output of a VMM is logged without terminal control sequences, in any field", () => {
  const lines: string[] = [];
  const log = createLog("debug", {}, { write: (line) => void lines.push(line), dropped: 0 });
  const evil = "\x1b]0;owned\x07\x9b2J\u202ewell";
  log.debug({ event: evil, properties: { [evil]: evil, list: [evil, 1, null] } }, evil);
  log.warn(evil);
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    [first?.event, first?.properties, first?.msg, second?.msg],
    ["well", { well: "well", list: ["well", 1, null] }, "well", "well"],
  );
});
