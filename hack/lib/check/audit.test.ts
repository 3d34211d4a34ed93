import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judge } from "./audit.ts";

const LOCKFILE = {
  packages: {
    "node_modules/used": {},
    "node_modules/tool": { dev: true },
    "node_modules/tool/node_modules/used": { dev: true },
  },
};
const ADVISORY = { title: "Code injection", url: "https://example.org/1" };

function verdict(severity: string, ...nodes: string[]) {
  return judge({ vulnerabilities: { used: { severity, nodes, via: [ADVISORY, "other"] } } }, LOCKFILE);
}

describe("audit", () => {
  it("fails for critical vulnerabilities at run time", () => {
    const text = "critical in used (run time): Code injection, https://example.org/1; by other";
    const both = ["node_modules/tool/node_modules/used", "node_modules/used"];
    assert.deepEqual(verdict("critical", ...both), { failures: [text], warnings: [] });
  });

  it("warns of less severe ones, and of those in build dependencies", () => {
    assert.equal(verdict("high", "node_modules/used").failures.length, 0);
    assert.equal(verdict("high", "node_modules/used").warnings.length, 1);
    assert.match(
      verdict("critical", "node_modules/tool").warnings.join(),
      /^critical in used \(build only\)/,
    );
    assert.deepEqual(judge({ vulnerabilities: {} }, LOCKFILE), { failures: [], warnings: [] });
  });
});
