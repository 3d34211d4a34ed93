import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLog, FifoSink } from "./log.ts";

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

test("a descriptor that can't be written is no failure", () => {
  const sink = new FifoSink(openSync("/dev/full", constants.O_WRONLY));
  createLog("info", {}, sink).info("x");
  assert.equal(sink.dropped, 1);
});
