import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isAllowed, packagesIn } from "./licences.ts";

describe("licences", () => {
  it("are allowed if all licences of one alternative are", () => {
    for (const expression of [
      "MIT",
      "GPL-3.0-only OR MIT",
      "(Apache-2.0 AND BSD-3-Clause)",
      "(ISC OR GPL-2.0)",
    ])
      assert.ok(isAllowed(expression), expression);
    for (const expression of [
      "",
      "GPL-3.0-only",
      "MIT AND GPL-2.0-only",
      "(MIT AND GPL-2.0) OR SSPL-1.0",
      "UNLICENSED",
    ])
      assert.ok(!isAllowed(expression), expression);
  });

  it("reads the packages of a table", () => {
    assert.deepEqual(
      packagesIn("| package | in |\n|---|---|\n| `src:crun` | `guest` |\n| `x-dev` | y |\ntext `z` | w"),
      ["src:crun", "x-dev"],
    );
  });
});
