import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "./log/log.ts";
import { logStateOn, stateOf } from "./state-dump.ts";

/** A pod with `count` containers, each with as many execs. */
const podOf = (count: number) => {
  const many = (prefix: string) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  const execs = many("exec-").map((id) => ({ id, state: "running", words: "w".repeat(500) }));
  return { pod: { containers: many("c").map((id) => ({ id, execs })), creating: [] } };
};

test("a state that fits is logged unchanged", () => {
  const state = { pod: { containers: [{ id: "c1", exit: 0 }], lost: undefined }, calls: [] };
  assert.deepEqual(
    stateOf(() => state),
    state,
  );
});

test("a state of any size is made to fit: lists end with the number of missing entries, texts are cut", () => {
  for (const [count, limit] of [
    [10, 14_000],
    [40, 14_000],
    [300, 14_000],
    [300, 2_000],
  ] as const) {
    const state = stateOf(() => podOf(count), limit) as ReturnType<typeof podOf>;
    assert.ok(Buffer.byteLength(JSON.stringify(state)) <= limit, `${count}`);
    const { containers } = state.pod;
    assert.equal(containers[0]?.execs[0]?.id, "exec-0");
    assert.equal(containers.at(-1), `${count - containers.length + 1} more`);
  }
  assert.match(String(stateOf(() => podOf(3), 20)), /^larger than 20 bytes$/);
});

test("terminal control sequences are removed", () => {
  assert.deepEqual(
    stateOf(() => ({ health: { words: "\u001b[2Jbroken\u0007" } })),
    { health: { words: "broken" } },
  );
});

test("an error in taking the state is reported in its place", () => {
  const broken = () => {
    throw new Error("a bug");
  };
  assert.equal(stateOf(broken), "not known: a bug");
});

test("a signal logs the state in one line, whatever the log level is", async (t) => {
  for (const level of ["debug", "error"]) {
    const lines: string[] = [];
    const sink = { write: (line: string) => void lines.push(line), dropped: 0 };
    const log = createLog(level, { pod: "p1" }, sink);
    logStateOn("SIGUSR2", log, () => ({ pod: { state: "running" } }));
    t.after(() => process.removeAllListeners("SIGUSR2"));
    process.emit("SIGUSR2", "SIGUSR2");
    assert.equal(lines.length, 1);
    const { pod, msg, state } = JSON.parse(lines[0] ?? "");
    assert.deepEqual([pod, msg], ["p1", "shim: state (SIGUSR2)"]);
    assert.deepEqual(state, { pod: { state: "running" } });
    process.removeAllListeners("SIGUSR2");
  }
});
