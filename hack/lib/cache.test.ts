import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { promisify } from "node:util";
import { ROOT } from "./run.ts";

const folder = mkdtempSync(join(tmpdir(), "hull-cache-"));
after(() => rmSync(folder, { recursive: true }));

/** Runs a piece of code in a process of its own, which has the cache to itself. */
async function inCache(code: string): Promise<string> {
  const source = `const { madeOnce } = require(${JSON.stringify(join(import.meta.dirname, "cache.ts"))});
const { appendFileSync, writeFileSync } = require("node:fs");
${code}`;
  const args = ["--import", "tsx", "--eval", source];
  const env = { ...process.env, XDG_CACHE_HOME: folder };
  return (await promisify(execFile)(process.execPath, args, { cwd: ROOT, env })).stdout.trim();
}

describe("madeOnce", () => {
  it("makes a thing once, also when two processes ask for it at a time", async () => {
    const code = `console.log(madeOnce("thing", "key", (work, result) => {
      appendFileSync("${folder}/made", "x");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      writeFileSync(result + "/file", "content");
      writeFileSync(work + "/scratch", "");
    }));`;
    const [first, second] = await Promise.all([inCache(code), inCache(code)]);
    assert.equal(first, join(folder, "hull/thing/key"));
    assert.equal(second, first);
    assert.equal(readFileSync(join(folder, "made"), "utf8"), "x");
    assert.deepEqual(readdirSync(first), ["file"]);
    assert.deepEqual(readdirSync(join(folder, "hull/thing")).sort(), ["key", "lock"]);
  });

  it("keeps nothing of a thing that could not be made", async () => {
    await assert.rejects(
      inCache(`madeOnce("other", "key", () => { throw new Error("no space"); });`),
      /no space/,
    );
    assert.deepEqual(readdirSync(join(folder, "hull/other")), ["lock"]);
  });
});
