import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crunError, errorsOf } from "./crun-error.ts";

const line = (msg: string, level = "error"): string =>
  `${JSON.stringify({ msg, level, time: "2026-01-01T00:00:00Z" })}\n`;

describe("errors of crun", () => {
  const cases: [name: string, program: string, log: string, code: string, message: RegExp][] = [
    [
      "missing in PATH",
      "foo",
      line("executable file `foo` not found in $PATH: No such file or directory"),
      "NotFound",
      /^step: exec: "foo": executable file not found in \$PATH$/,
    ],
    [
      "missing path",
      "/x/foo",
      line("executable file `/x/foo` not found in $PATH: No such file or directory"),
      "NotFound",
      /^step: exec: "\/x\/foo": stat \/x\/foo: no such file or directory$/,
    ],
    [
      "not executable",
      "/f",
      line("open executable: Permission denied"),
      "InvalidArgument",
      /"\/f": permission denied$/,
    ],
    [
      "a directory",
      "/d",
      line("open executable: Operation not permitted"),
      "InvalidArgument",
      /"\/d": permission denied$/,
    ],
    ["wrong format", "/f", line("exec: Exec format error"), "InvalidArgument", /"\/f": exec format error$/],
    ["anything else", "a", line("mount `x`: No such device"), "Unknown", /^step: mount `x`: No such device$/],
    ["a warning before", "a", line("careful", "warning") + line("bad"), "Unknown", /^step: bad$/],
    ["no message", "a", "", "Unknown", /crun exited with status 1 and no message/],
  ];
  for (const [name, program, log, code, message] of cases) {
    it(name, () => {
      const error = crunError("step", program, log, 1);
      assert.equal(error.code, code);
      assert.match(error.message, message);
    });
  }

  it("shows a line that is not JSON", () => {
    assert.deepEqual(errorsOf("{broken\n"), ["{broken"]);
  });
});
