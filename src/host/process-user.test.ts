import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MOST_OF_A_USER } from "./process-user.ts";

test("the helpers in C bound a user's processes as the daemon does", () => {
  const [, most] = /^#define MOST_OF_A_USER (\d+)$/m.exec(readFileSync("native/confine.c", "utf8")) ?? [];
  assert.equal(Number(most), MOST_OF_A_USER);
});
