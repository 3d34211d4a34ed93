import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError, invalidArgument } from "./errors.ts";

const errno = (code: string) => Object.assign(new Error(`${code}: because`), { code });

test("an errno never becomes NotFound: to containerd, a Delete that returns NotFound has succeeded", () => {
  for (const code of ["ENOENT", "ENOTDIR", "ESRCH", "EEXIST", "ENOTEMPTY", "ENXIO", "ENODEV", "ENOSYS"]) {
    for (const error of [
      HullError.from(errno(code)),
      HullError.wrap("a tool of ours", errno(code)),
      HullError.wrap("a tool of ours", HullError.wrap("inner", errno(code))),
    ]) {
      assert.equal(error.code, "Unknown", code);
    }
    assert.equal(HullError.wrap("a tool of ours", errno(code), "Internal").code, "Internal");
  }
});

test("a missing path that the caller named is NotFound; an existing one is not AlreadyExists", () => {
  const codeAt = (code: string) => HullError.ofCallersPath("mount source /x", errno(code)).code;
  assert.equal(codeAt("ENOENT"), "NotFound");
  assert.equal(codeAt("ENOTDIR"), "NotFound");
  assert.equal(codeAt("EEXIST"), "Unknown");
  assert.equal(codeAt("ESRCH"), "Unknown");
  assert.equal(codeAt("EACCES"), "PermissionDenied");
  assert.equal(HullError.ofCallersPath("file", errno("EIO"), "Internal").code, "Internal");
});

test("an error about a full host names the remedy once", () => {
  const inner = HullError.wrap("write /run/hull/x", errno("ENOSPC"));
  assert.equal(inner.code, "ResourceExhausted");
  assert.equal(
    HullError.wrap("create container c", inner).message,
    "create container c: write /run/hull/x: ENOSPC: because; free space on that file system",
  );
  assert.equal(HullError.from(errno("EMFILE"), "Internal").code, "ResourceExhausted");
  assert.match(HullError.from(errno("EAGAIN")).message, /pids\.max/);
});

test("a message that quotes a client's text keeps its start and its remedy, and is bounded", () => {
  const { message } = HullError.wrap("create", invalidArgument(`annotation ${"x".repeat(100_000)}; use y`));
  assert.ok(message.length < 17_000, String(message.length));
  assert.match(message, /^create: annotation x+ \[\.\.\.\] .*x; use y$/);
});
