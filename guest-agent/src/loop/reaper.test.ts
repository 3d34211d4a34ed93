import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { runCommand } from "./command.ts";
import { type Exit, Reaper } from "./reaper.ts";

function start(): { fake: FakeSys; reaper: Reaper } {
  const fake = new FakeSys();
  const reaper = new Reaper(fake.sys);
  reaper.start();
  return { fake, reaper };
}

describe("reaper", () => {
  it("reports each exit to the listener of its PID, codes and signals", async () => {
    const { fake, reaper } = start();
    const exits: [number, number][] = [];
    for (const [code, signal] of [
      [0, 0],
      [42, 0],
      [0, 9],
    ] as const) {
      const pid = fake.newPid();
      reaper.watch(pid, (exit) => exits.push([pid, exit.status]));
      fake.end(pid, code, signal);
    }
    await fake.settle();
    assert.deepEqual(
      exits.map(([, status]) => status),
      [0, 42, 137],
    );
  });

  it("keeps an exit for a later watch only while it is held", async () => {
    const { fake, reaper } = start();
    const seen: Exit[] = [];
    const [kept, lost] = [fake.newPid(), fake.newPid()];
    fake.end(lost, 1);
    await fake.settle();
    const release = reaper.hold();
    fake.end(kept, 5);
    await fake.settle();
    reaper.watch(kept, (exit) => seen.push(exit));
    reaper.watch(lost, (exit) => seen.push(exit));
    release();
    assert.deepEqual(
      seen.map((exit) => exit.status),
      [5],
    );
    assert.throws(() => reaper.watch(lost, () => undefined), /already watched/);
  });
});

describe("command", () => {
  it("resolves with the exit and leaves no timer", async () => {
    const { fake, reaper } = start();
    fake.programs.set("p", (child) => fake.end(child.pid, 3));
    const run = runCommand(fake.sys, reaper, { argv: ["/bin/p"], timeoutMs: 1000 });
    await fake.settle();
    assert.equal((await run).status, 3);
    assert.equal(fake.timerCount, 0);
  });

  it("kills a command that takes too long and reports the timeout", async () => {
    const { fake, reaper } = start();
    fake.programs.set("p", () => undefined);
    fake.onKill = (pid, signal) => fake.end(pid, 0, signal);
    const run = runCommand(fake.sys, reaper, { argv: ["/bin/p"], timeoutMs: 1000 });
    const rejected = assert.rejects(run, /\/bin\/p: timed out after 1000 ms/);
    fake.advance(1000);
    await rejected;
  });

  it("fails at once when the program cannot be started", async () => {
    const { fake, reaper } = start();
    await assert.rejects(runCommand(fake.sys, reaper, { argv: ["/none"], timeoutMs: 1 }), /ENOENT/);
  });
});
