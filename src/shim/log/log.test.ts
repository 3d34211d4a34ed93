import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { HullError } from "../../core/errors.ts";
import { createLog, FifoSink, type Logger } from "./log.ts";

test("lines that nobody takes are dropped whole, and it works again afterwards", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "hull-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "log");
  execFileSync("mkfifo", [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(fd));
  const sink = new FifoSink(fd);
  const log = createLog("info", { pod: "p" }, sink);
  log.debug("below the level");
  for (let i = 0; i < 500; i++) log.info("message", { i, fill: "x".repeat(i % 2 ? 100 : 9000) });
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

test("a descriptor that can't be written is no failure", () => {
  const sink = new FifoSink(openSync("/dev/full", constants.O_WRONLY));
  createLog("info", {}, sink).info("x");
  assert.equal(sink.dropped, 1);
});

/** The lines that `write` logs at level `warn`, parsed. */
function logged(write: (log: Logger) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLog("warn", { pod: "p" }, { dropped: 0, write: (line) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a line has the level, the time, the base fields, the fields and the message, from its level on", () => {
  const lines = logged((log) => {
    log.info("no");
    log.warn("yes", { size: 1n });
    log.fatal("end");
  });
  assert.equal(lines.length, 2);
  const { time, ...rest } = lines[0] ?? {};
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  assert.deepEqual(rest, { level: 40, pod: "p", size: "1", msg: "yes" });
  assert.equal(lines[1]?.level, 60);
});

test("an error is written with its stack, its code and its causes", () => {
  const cause = new TypeError("inner");
  const [line] = logged((log) =>
    log.error("failed", { err: new HullError("FailedPrecondition", "outer", { cause }) }),
  );
  const err = line?.err as Record<string, unknown>;
  assert.deepEqual([err.message, err.code], ["outer", "FailedPrecondition"]);
  assert.match(String(err.stack), /log\.test/);
  assert.equal((err.cause as Record<string, unknown>).message, "inner");
});

test("fields that JSON cannot hold do not cost the message", () => {
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  const [line] = logged((log) => log.error("told all the same", circle));
  assert.equal(line?.msg, "told all the same");
  assert.match(String(line?.fields), /could not be written: .*circular/);
});
