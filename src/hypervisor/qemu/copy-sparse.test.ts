import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const MIB = 1 << 20;

describe("copy-sparse", () => {
  let directory = "";
  const at = (name: string) => join(directory, name);
  const copy = (from: string, to: string) => run(at("copy-sparse"), [at(from), at(to)]);
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "hull-copy-"));
    const source = resolve(import.meta.dirname, "../../../native/copy-sparse.c");
    const flags = ["-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"];
    execFileSync("cc", [...flags, "-o", at("copy-sparse"), source]);
  });
  after(() => rm(directory, { recursive: true }));

  it("copies the data, leaves the holes, and never changes the size", async () => {
    const file = await open(at("from"), "w");
    await file.write(Buffer.alloc(3 * MIB + 17, "a"), 0, undefined, 2 * MIB + 5);
    await file.write(Buffer.from("end"), 0, undefined, 40 * MIB - 3);
    await file.truncate(64 * MIB);
    await file.close();
    await writeFile(at("to"), "");
    await truncate(at("to"), 64 * MIB);
    await copy("from", "to");
    assert.ok((await readFile(at("to"))).equals(await readFile(at("from"))));
    assert.ok((await stat(at("to"))).blocks * 512 < 8 * MIB, "holes were filled");
  });

  it("copies an empty file, and one with data up to its end", async () => {
    for (const content of [Buffer.alloc(0), Buffer.alloc(MIB + 1, "b")]) {
      await writeFile(at("from"), content);
      await writeFile(at("to"), "");
      await truncate(at("to"), content.length);
      await copy("from", "to");
      assert.ok((await readFile(at("to"))).equals(content));
    }
  });

  it("reports a destination of another size, and a file that it cannot open", async () => {
    await writeFile(at("from"), "four");
    await writeFile(at("to"), "");
    await assert.rejects(copy("from", "to"), /to has 0 bytes, not 4/);
    await assert.rejects(copy("none", "to"), /open .*none: No such file/);
  });
});
