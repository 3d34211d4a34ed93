import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { checkId, checkPath } from "./names.ts";

describe("names", () => {
  it("an id that passes is one path component other than . and ..", () => {
    fc.assert(
      fc.property(fc.string(), (id) => {
        let passed = true;
        try {
          checkId("container", id);
        } catch {
          passed = false;
        }
        assert.ok(
          !passed || (!/[/\0]/.test(id) && id !== "." && id !== ".." && id.length > 0 && id.length <= 128),
        );
      }),
    );
    checkId("exec", "a1_.-Z");
  });

  for (const path of ["", "a", "/a/../b", "/a//b", "/a/", "/./a", "/a\0", `/${"x".repeat(4096)}`]) {
    it(`refuses the path ${JSON.stringify(path.slice(0, 20))}`, () =>
      assert.throws(() => checkPath("x", path), /must be an absolute path/));
  }
  it("accepts / and normalized paths", () => {
    checkPath("x", "/");
    checkPath("x", "/run/hull/a.b");
  });
});
