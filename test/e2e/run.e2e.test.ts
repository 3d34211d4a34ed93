/** The life cycle of a container with `ctr run`: exit status, streams, signals, many runs. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { it } from "node:test";
import { BUSYBOX, type CtrResult } from "../testkit/ctr.ts";
import { forEveryRunner, RUNTIMES } from "./fixture.ts";

const sha256 = (data: Buffer) => createHash("sha256").update(data).digest("hex");

/** Asserts the exit status; on failure shows all of ctr's output. */
function assertCode(result: CtrResult, code: number): void {
  assert.equal(
    result.code,
    code,
    `ctr: ${result.signal ?? result.code}: ${result.stderr}\nstdout: ${result.stdout}`,
  );
}

/**
 * Twenty exit statuses with all the special ones: success, failures of a shell, 128 + signals, the largest.
 */
const EXIT_CODES = [0, 1, 2, 3, 7, 42, 64, 77, 100, 125, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255];

forEveryRunner("run", (runner, runtime) => {
  it("prints the greeting and exits with the program's status", async () => {
    const result = await runner().sh("uname -r; echo hello from the VM; exit 3");
    assertCode(result, 3);
    const [release = "", greeting] = result.stdout.split("\n");
    assert.match(release, /^\d+\.\d+/);
    assert.equal(greeting, "hello from the VM");
    assert.equal(result.stderr, "");
  });

  it("runs twenty containers one after another, each with its own exit status", async () => {
    for (const code of EXIT_CODES) assertCode(await runner().sh(`exit ${code}`), code);
  });

  it("runs five containers at once", async () => {
    const codes = [11, 12, 13, 14, 15];
    const runs = codes.map((code) => {
      const argv = ["sh", "-c", `echo ${code}; cat; exit ${code}`];
      return { code, run: runner().start(argv, { holdStdin: true }) };
    });
    // A container may end before a busy ctr has opened its output, which ctr then loses.
    await Promise.all(runs.map(({ code, run }) => run.printed(`${code}\n`)));
    for (const { run } of runs) run.closeStdin();
    for (const { code, run } of runs) {
      const result = await run.ended;
      assertCode(result, code);
      assert.equal(result.stdout, `${code}\n`);
    }
  });

  it("keeps stdout and stderr apart", async () => {
    const result = await runner().sh("echo to stdout; echo to stderr >&2; printf 'no newline'");
    assertCode(result, 0);
    assert.equal(result.stdout, "to stdout\nno newline");
    assert.equal(result.stderr, "to stderr\n");
  });

  it("sends 10 MiB of stdin through cat and back", async () => {
    const input = randomBytes(10 << 20);
    const result = await runner().run(["cat"], { stdin: input });
    assertCode(result, 0);
    assert.equal(result.stdoutBytes, input.length);
    assert.equal(result.stdoutSha256, sha256(input));
  });

  // Send the input after the start: ctr loses an end of stdin that comes before the task exists.
  it("passes on the end of stdin", async () => {
    const running = runner().start(["sh", "-c", "echo ready; wc -c; echo done"], { holdStdin: true });
    await running.printed("ready\n");
    running.closeStdin(Buffer.from("12345"));
    const result = await running.ended;
    assertCode(result, 0);
    assert.equal(result.stdout, "ready\n5\ndone\n");
  });

  it("delivers 64 MiB of output", async () => {
    const lines = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("");
    const times = Math.ceil((64 << 20) / lines.length);
    const result = await runner().sh(
      `seq 1 200000 >/tmp/lines; i=0; while [ $i -lt ${times} ]; do dd if=/tmp/lines bs=64k 2>/dev/null; i=$((i+1)); done`,
      { timeoutMs: 180_000 },
    );
    assertCode(result, 0);
    assert.equal(result.stdoutBytes, lines.length * times);
    assert.equal(result.stdoutSha256, sha256(Buffer.from(lines.repeat(times))));
  });

  it("delivers SIGTERM to a handler", async () => {
    const id = runner().id();
    const running = runner().start(
      ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"],
      { id },
    );
    await running.printed("ready\n");
    await runner().ctr.expect(["tasks", "kill", "--signal", "SIGTERM", id]);
    assertCode(await running.ended, 7);
  });

  // Linux drops SIGTERM for a PID 1 without a handler (pid_namespaces(7)), so with runc such a container
  // survives.
  it("stops a container that does not handle SIGTERM", {
    skip: runtime === "runc" && "under runc Linux drops such a signal",
  }, async () => {
    const id = runner().id();
    const running = runner().start(["sh", "-c", "echo ready; exec sleep 1000"], { id });
    await running.printed("ready\n");
    await runner().ctr.expect(["tasks", "kill", "--signal", "SIGTERM", id]);
    assertCode(await running.ended, 137);
  });

  it("kills a container with SIGKILL", async () => {
    const id = runner().id();
    const running = runner().start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], {
      id,
    });
    await running.printed("ready\n");
    await runner().ctr.expect(["tasks", "kill", "--signal", "SIGKILL", id]);
    assertCode(await running.ended, 137);
  });

  it("refuses a second container with the same id and does not affect the first", async () => {
    const id = runner().id();
    const running = runner().start(["sh", "-c", "echo ready; read line; exit 5"], { id, holdStdin: true });
    await running.printed("ready\n");
    const second = await runner().ctr.call([
      "run",
      "--rm",
      "--runtime",
      RUNTIMES[runtime],
      BUSYBOX,
      id,
      "true",
    ]);
    assert.notEqual(second.code, 0);
    assert.match(second.stderr, /already exists/);
    running.closeStdin();
    assertCode(await running.ended, 5);
  });

  it("fails for a program that does not exist, and the id can be used again", async () => {
    const id = runner().id();
    const failed = await runner().run(["/no/such/program"], { id });
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, /\/no\/such\/program/);
    assertCode(await runner().sh("exit 9", { id }), 9);
  });
});
