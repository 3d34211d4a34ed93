import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseCommand } from "./options.ts";

describe("the command line of hack/lab", () => {
  it("starts a host with two processors and Debian 12's kernel by default", () => {
    assert.deepEqual(parseCommand(["up"]), {
      action: "up",
      host: {
        cpus: 2,
        memoryMib: 8192,
        kernel: "6.1",
        qemu: undefined,
        accelOptions: undefined,
        exactTime: false,
        iommu: false,
        systemd: false,
        fresh: false,
      },
    });
  });

  it("leaves the options of a command to the command", () => {
    assert.deepEqual(parseCommand(["run", "ls", "--fresh", "-l"]), {
      action: "run",
      argv: ["ls", "--fresh", "-l"],
    });
  });

  it("gives a host with exact time one processor", () => {
    const command = parseCommand(["up", "--exact-time"]);
    assert.equal(command.action === "up" && command.host.cpus, 1);
    assert.throws(() => parseCommand(["up", "--exact-time", "--cpus", "2"]), /one processor only/);
  });

  for (const [args, message] of [
    [[], /a command is missing/],
    [["start"], /unknown command start/],
    [["run"], /needs a command/],
    [["down", "now"], /down has no arguments/],
    [["up", "--kernel", "5.10"], /--kernel: 5.10 is not one of 6.1, 6.12, sid/],
    [["up", "--qemu", "8"], /--qemu: 8 is not one of 10, 11/],
    [["up", "--cpus", "none"], /--cpus: none is not a whole number/],
    [["up", "--memory", "1024"], /needs at least 2048 MiB/],
    [["up", "--fast"], /--fast/],
  ] as const) {
    it(`refuses: ${args.join(" ") || "nothing"}`, () => {
      assert.throws(() => parseCommand(args), message);
    });
  }
});
