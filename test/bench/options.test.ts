import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseOptions } from "./options.ts";

describe("the options of hack/bench", () => {
  it("with --lab, measure what makes sense there", () => {
    const { only, runs, pods } = parseOptions(["--lab"]);
    assert.deepEqual({ only, runs, pods }, { only: ["start", "tasks", "memory"], runs: 3, pods: [1, 5] });
    assert.deepEqual(parseOptions(["--lab", "--only", "tasks"]).only, ["tasks"]);
    assert.throws(() => parseOptions(["--lab", "--only", "files"]), /unknown measure files for --lab/);
  });

  it("measure everything without it", () => {
    const { only, runs, lab } = parseOptions([]);
    assert.deepEqual({ only, runs, lab }, { only: [], runs: 7, lab: false });
    assert.deepEqual(parseOptions(["--only", "files"]).only, ["files"]);
  });

  it("compare and trace only where that is possible", () => {
    assert.equal(parseOptions(["--lab", "--compare", "main"]).compare, "main");
    assert.throws(() => parseOptions(["--compare", "main"]), /--compare needs --lab/);
    assert.throws(() => parseOptions(["--lab", "--trace"]), /--trace/);
  });
});
