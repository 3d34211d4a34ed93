import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { promisify } from "node:util";
import { ROOT } from "./run.ts";

const directory = mkdtempSync(join(tmpdir(), "hull-cache-"));
after(() => rmSync(directory, { recursive: true }));

/** Runs code in a process of its own, with a cache in `directory`. */
async function inCache(code: string): Promise<string> {
  const source = `const { buildOnce } = require(${JSON.stringify(join(import.meta.dirname, "cache.ts"))});
const { appendFileSync, writeFileSync } = require("node:fs");
${code}`;
  const args = ["--import", "tsx", "--eval", source];
  const env = { ...process.env, XDG_CACHE_HOME: directory };
  return (await promisify(execFile)(process.execPath, args, { cwd: ROOT, env })).stdout.trim();
}

describe("buildOnce", () => {
  it("creates a directory once, even if two processes need it at the same time", async () => {
    const code = `console.log(buildOnce("thing", "key", (work, result) => {
      appendFileSync("${directory}/runs", "x");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      writeFileSync(result + "/file", "content");
      writeFileSync(work + "/scratch", "");
    }));`;
    const [first, second] = await Promise.all([inCache(code), inCache(code)]);
    assert.equal(first, join(directory, "hull/thing/key"));
    assert.equal(second, first);
    assert.equal(readFileSync(join(directory, "runs"), "utf8"), "x");
    assert.deepEqual(readdirSync(first), ["file"]);
    assert.deepEqual(readdirSync(join(directory, "hull/thing")).sort(), ["key", "lock"]);
  });

  it("leaves nothing behind if creating the directory fails", async () => {
    await assert.rejects(
      inCache(`buildOnce("other", "key", () => { throw new Error("no space"); });`),
      /no space/,
    );
    assert.deepEqual(readdirSync(join(directory, "hull/other")), ["lock"]);
  });
});
