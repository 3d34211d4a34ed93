import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { procStatFields } from "./proc-stat.ts";

test("fields have the numbers of proc_pid_stat(5), whatever the name contains", () => {
  assert.deepEqual(procStatFields("7 (a) b (c)) S 1 7 7\n"), ["", "7", "a) b (c)", "S", "1", "7", "7"]);
  const own = procStatFields(readFileSync("/proc/self/stat", "utf8"));
  assert.deepEqual([own[1], own[4]], [`${process.pid}`, `${process.ppid}`]);
});

test("malformed text has no fields", () => {
  assert.deepEqual(procStatFields(""), []);
});
