import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../../core/errors.ts";
import { PodPaths } from "./pod-paths.ts";
import { rollBack } from "./start.ts";

test("a socket path that is too long is refused with a remedy", () => {
  const longest = new PodPaths("n".repeat(76), "p".repeat(10));
  longest.checkLength();
  assert.equal(longest.socket.length, 107);
  assert.throws(
    () => new PodPaths("n".repeat(76), "p".repeat(11)).checkLength(),
    /shorten .* by 1 character/,
  );
});

test("undoing a start continues after a step that fails, and appends it to the cause", () => {
  const done: string[] = [];
  const fails = () => {
    throw new Error("read-only file system");
  };
  const cause = new HullError("Unavailable", "the daemon does not serve");
  const error = rollBack(cause, [fails, () => done.push("killed"), fails, () => done.push("removed")]);
  assert.deepEqual(done, ["killed", "removed"]);
  assert.ok(error instanceof HullError && error.code === "Unavailable");
  assert.match(error.message, /^the daemon does not serve; undoing it failed: read-only.*; read-only/);
  assert.equal(rollBack(cause, [() => done.push("all")]), cause);
});
