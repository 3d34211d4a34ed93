import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MAX_USER_PROCESSES } from "./process-user.ts";

test("the helpers in C bound a user's processes as the daemon does", () => {
  const [, most] = /^#define MAX_USER_PROCESSES (\d+)$/m.exec(readFileSync("native/confine.c", "utf8")) ?? [];
  assert.equal(Number(most), MAX_USER_PROCESSES);
});
