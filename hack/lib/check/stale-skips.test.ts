import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { staleSkips } from "./stale-skips.ts";

const SOURCE = `
  const CASES = [{ name: "a foreign owner" }];
  for (const { name } of CASES) test(\`it is never restored: \${name}\`, () => {});
  it("plain (with brackets)", () => {});
  describe(\`\${line}: \${suite}\`, () => {});
`;

describe("stale-skips", () => {
  const stale = (...names: string[]) =>
    staleSkips(names.map((name) => `${name}\treason\n`).join("# comment\n"), [SOURCE, "test('other');"]);

  it("finds tests by name, in tables, and with interpolated names", () => {
    assert.deepEqual(
      stale("plain (with brackets)", "a foreign owner", "it is never restored: a foreign owner", "other"),
      [],
    );
    assert.deepEqual(stale("it is * restored: *", "plain *"), []);
  });

  it("reports a name that no test has, even if an interpolation could produce it", () => {
    assert.deepEqual(stale("plain", "it is never built: again", "containerd 2: gone", "other"), [
      "plain",
      "it is never built: again",
      "containerd 2: gone",
    ]);
  });
});
