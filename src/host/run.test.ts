import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { pollUntil } from "../core/poll-until.ts";
import { MissingToolError } from "./missing-tool.ts";
import { run, ToolError } from "./run.ts";

test("returns what the tool printed", async () => {
  assert.equal(await run(["echo", "hello"], Deadline.none()), "hello\n");
});

test("the tool sees a scrubbed environment", async () => {
  process.env.HULL_SECRET = "x";
  const lines = (await run(["env"], Deadline.none(), { env: { EXTRA: "1" } })).trim().split("\n");
  delete process.env.HULL_SECRET;
  assert.deepEqual(lines.map((line) => line.split("=")[0]).sort(), ["EXTRA", "LC_ALL", "PATH"]);
});

test("a failing tool is reported with its last lines of stderr and its status", async () => {
  await assert.rejects(
    run(["sh", "-c", "echo first >&2; echo cause >&2; exit 3"], Deadline.none()),
    (error) => {
      assert.ok(error instanceof ToolError);
      assert.equal(error.exitCode, 3);
      assert.match(error.message, /^sh -c: first\ncause$/);
      return true;
    },
  );
});

for (const argv of [
  ["losetup-x", "--detach", "/dev/loop0"],
  ["nsenter", "--net=/proc/self/ns/net", "--", "losetup-x"],
  ["setpriv", "--", "losetup-x"],
  ["sh", "-c", "losetup-x --detach"],
] as const) {
  test(`${argv[0]}: a missing tool is reported with the searched directories, not as NotFound`, async () => {
    await assert.rejects(run(argv, Deadline.none()), {
      name: "HullError",
      code: "FailedPrecondition",
      tool: "losetup-x",
      message: /^losetup-x: the program is not in \/.*:\/usr\/sbin:.*; install it$/,
    });
  });
}

test("a missing tool is reported with its package", () => {
  assert.match(
    new MissingToolError("losetup", "/bin").message,
    /^losetup: .* not in \/bin; install the package mount$/,
  );
});

test("a tool that hangs is killed at the deadline", async () => {
  const before = performance.now();
  await assert.rejects(run(["sleep", "60"], Deadline.after(50, "test")), (error) => {
    assert.ok(error instanceof HullError);
    assert.equal(error.code, "DeadlineExceeded");
    return true;
  });
  assert.ok(performance.now() - before < 40_000);
});

test("a killed tool's children are not waited for", async () => {
  const directory = await mkdtemp(join(tmpdir(), "hull-run-"));
  const file = join(directory, "pid");
  const deadline = Deadline.after(60_000, "the tool's death");
  const started = pollUntil(
    async () => /^\d+\n$/.test(await readFile(file, "utf8").catch(() => "")),
    deadline,
  );
  const limit = Deadline.none();
  const running = run(["sh", "-c", `sleep 600 & echo $! >${file}; wait`], limit);
  await started;
  limit.cancel();
  await assert.rejects(deadline.race(running), { code: "Canceled" });
  process.kill(Number(await readFile(file, "utf8")), "SIGKILL"); // it is still there
  deadline.dispose();
  await rm(directory, { recursive: true });
});
