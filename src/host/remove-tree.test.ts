import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import { removeTree } from "./remove-tree.ts";

const run = promisify(execFile);
const USER = 1_700_000_000;
/**
 * Replaces directories with symlinks all the time: a removal by path is fooled once in six runs, or never
 * ends.
 */
const ROUNDS = 30;

let scratch: string;
let swap: string;
let tree: string;

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hull-remove-"));
  await chmod(scratch, 0o755);
  swap = join(scratch, "swap");
  await run("cc", ["-O2", "-Wall", "-Werror", "-o", swap, "test/testkit/swap.c"]);
});
after(() => rm(scratch, { recursive: true }));
beforeEach(async () => {
  tree = await mkdtemp(join(scratch, "tree-"));
  await chmod(tree, 0o711);
});

const left = async () => (await readdir(scratch)).filter((name) => name.startsWith("tree-"));

test("a tree is removed whatever its names and symlinks are; removing it again is no failure", async () => {
  const kept = join(scratch, "kept");
  await mkdir(kept);
  await writeFile(join(kept, "file"), "");
  await mkdir(join(tree, "a/b/c"), { recursive: true });
  await writeFile(join(tree, "a/b/c/file"), "");
  await writeFile(Buffer.concat([Buffer.from(join(tree, "a/")), Buffer.from([0xff, 0xfe])]), "");
  for (const place of ["link", "a/link", "a/b/c/link"]) await symlink(kept, join(tree, place));
  await removeTree(tree, within(10_000));
  await removeTree(tree, within(10_000));
  assert.deepEqual([await left(), await readdir(kept)], [[], ["file"]]);
});

test("directories nested deeper than PATH_MAX are removed, too", async () => {
  // 200 nested names of 100 bytes.
  const step = "d".repeat(99);
  await run("sh", ["-c", `for i in $(seq 200); do mkdir ${step} && cd -P ${step} || exit; done`], {
    cwd: tree,
  });
  await removeTree(tree, within(30_000));
  assert.deepEqual(await left(), []);
});

test("replacing directories with symlinks during a removal removes nothing elsewhere", {
  skip: process.getuid?.() !== 0 && "runs a process of another user",
  timeout: 120_000,
}, async () => {
  const kept = join(scratch, "host");
  const names = ["1", "2", "3"];
  await mkdir(kept);
  for (const name of names) await writeFile(join(kept, name), "");
  const own = join(tree, "own");
  for (let round = 0; round < ROUNDS; round++) {
    await mkdir(own, { recursive: true });
    await chown(own, USER, USER);
    const argv = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "--", swap, own, kept];
    const child = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    const limit = Deadline.after(300);
    await removeTree(own, limit).catch(({ code }) => assert.equal(code, "DeadlineExceeded"));
    limit.dispose();
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.deepEqual((await readdir(kept)).sort(), names, `round ${round + 1}`);
  }
  await removeTree(tree, within(30_000));
  assert.deepEqual(await left(), []);
});
