/** Builds the programs of test/ and runs them in the real engine, plain and with sanitizers. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { buildProgram } from "../../hack/lib/build/qjs.ts";

const directory = join(dirname(fileURLToPath(import.meta.url)), "test");
const work = mkdtempSync(join(tmpdir(), "hull-sys-"));
after(() => rmSync(work, { recursive: true, force: true }));

const helper = (name: string): string => {
  const path = join(work, name);
  execFileSync("cc", [
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-o",
    path,
    join(directory, `${name}.c`),
  ]);
  return path;
};

/** As for PID 1, the soft limit of descriptors is below the hard limit. */
const run = (program: string, args: string[]) =>
  spawnSync("sh", ["-c", 'ulimit -Sn 1000; exec "$0" "$@"', program, ...args], {
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, ASAN_OPTIONS: "detect_leaks=1" },
  });

const variants = [
  { name: "plain", sanitize: false },
  { name: "with sanitizers", sanitize: true },
];
const ways = [
  { way: "callback", status: 70, output: /uncaught exception: Error: thrown in a callback\n.*at/ },
  { way: "rejection", status: 70, output: /unhandled promise rejection: Error: rejected unseen\n/ },
  { way: "late", status: 0, output: /^seen\n$/ },
  { way: "module", status: 70, output: /Error: thrown by the module\n/ },
  { way: "never", status: 70, output: /nothing left that could settle its top-level await/ },
  { way: "handler", status: 0, output: /^handled one\nhandled two\nstill alive\n$/ },
];

for (const { name, sanitize } of variants) {
  describe(`sys ${name}`, () => {
    const build = (source: string): string => {
      const program = join(work, `${source}-${name.replaceAll(" ", "-")}`);
      buildProgram(join(directory, `${source}.ts`), program, { sanitize });
      return program;
    };
    for (const source of ["loop", "files", "text", "sockets", "process", "relay"]) {
      it(source, () => {
        const scratch = mkdtempSync(join(work, "s"));
        const { status, signal, stderr } = run(build(source), [
          scratch,
          helper("send-fd"),
          helper("unlock-pty"),
        ]);
        assert.match(
          stderr,
          /passed [1-9]\d* tests, [1-9]\d* checks\n$/,
          `status ${status}, signal ${signal}`,
        );
        assert.equal(status, 0, stderr);
      });
    }
    it("uncaught errors", () => {
      const program = build("uncaught");
      for (const { way, status, output } of ways) {
        const result = run(program, [way]);
        assert.match(result.stderr, output, way);
        // A program that exits early leaks memory, and the leak checker sets its own exit status.
        if (!sanitize || status === 0) assert.equal(result.status, status, `${way}: ${result.stderr}`);
      }
    });
  });
}
