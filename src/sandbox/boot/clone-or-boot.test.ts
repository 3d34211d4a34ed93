import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Disposer } from "../../core/disposer.ts";
import { unavailable } from "../../core/errors.ts";
import { removeTree } from "../../host/remove-tree.ts";
import { cloneOrBoot } from "./clone-or-boot.ts";
import { CloneError } from "./start-vm.ts";

let root: string;
let warnings: string[];
const warn = (message: string) => void warnings.push(message);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-clone-or-boot-"));
  warnings = [];
});
afterEach(() => rm(root, { recursive: true }));

/** Creates the directory that every attempt creates. */
async function makeDirectory(disposer: Disposer): Promise<void> {
  const path = join(root, "vm");
  await mkdir(path);
  disposer.push("VM's directory", async (by) => {
    by.check();
    await removeTree(path, by);
  });
}

test("a boot finds nothing of the failed clone, even if a helper exits late", async () => {
  const attempts: boolean[] = [];
  const booted = await cloneOrBoot(
    async (clone, disposer) => {
      attempts.push(clone);
      await makeDirectory(disposer);
      // Like a stopped process, which is killed at its timeout.
      disposer.push("virtiofsd", (by) => new Promise((resolve) => by.onEnd(() => resolve())));
      disposer.push("vsock", (by) => new Promise((resolve) => by.onEnd(() => resolve())));
      disposer.push("VM", (by) => new Promise((resolve) => by.onEnd(() => resolve())));
      if (clone) throw new CloneError(unavailable("no answer"));
      return "up";
    },
    true,
    warn,
  );
  assert.equal(booted, "up");
  assert.deepEqual(attempts, [true, false]);
  assert.deepEqual(warnings, ["start from a template: no answer; the pod is booted without a template"]);
});

test("an undo step that fails once is retried before the boot", async () => {
  let tries = 0;
  await cloneOrBoot(
    async (clone, disposer) => {
      await makeDirectory(disposer);
      if (!clone) return;
      disposer.push("network", async () => {
        if (tries++ === 0) throw new Error("busy");
      });
      throw new CloneError(unavailable("no answer"));
    },
    true,
    warn,
  );
  assert.equal(tries, 2);
});

test("if an undo step keeps failing, that is reported and there is no boot", async () => {
  const attempts: boolean[] = [];
  const start = cloneOrBoot(
    async (clone, disposer) => {
      attempts.push(clone);
      await makeDirectory(disposer);
      disposer.push("shared directory", async () => {
        throw new Error("busy");
      });
      throw new CloneError(unavailable("no answer"));
    },
    true,
    warn,
  );
  await assert.rejects(start, {
    code: "Unavailable",
    message:
      "start from a template: no answer; not booted without a template: teardown: shared directory: busy",
  });
  assert.deepEqual(attempts, [true]);
  assert.deepEqual(await readdir(root), []);
});

test("any other failure is rethrown unchanged, after everything is undone", async () => {
  const start = cloneOrBoot(
    async (_clone, disposer) => {
      await makeDirectory(disposer);
      throw unavailable("virtiofsd: not there");
    },
    true,
    warn,
  );
  await assert.rejects(start, { message: "virtiofsd: not there" });
  assert.deepEqual([await readdir(root), warnings], [[], []]);
});
