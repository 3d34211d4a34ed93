import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "./errors.ts";

const errno = (code: string) => Object.assign(new Error(`${code}: because`), { code });

test("an errno is NotFound or AlreadyExists only where the path was the caller's: where no fallback is named", () => {
  assert.equal(HullError.wrap("mount source", errno("ENOENT")).code, "NotFound");
  assert.equal(HullError.wrap("file", errno("EEXIST")).code, "AlreadyExists");
  for (const code of ["ENOENT", "ESRCH", "EEXIST"]) {
    assert.equal(HullError.wrap("a tool of ours", errno(code), "Internal").code, "Internal");
    assert.equal(HullError.from(errno(code), "Unknown").code, "Unknown");
  }
  assert.equal(HullError.from(errno("ENOSPC"), "Internal").code, "ResourceExhausted");
});
