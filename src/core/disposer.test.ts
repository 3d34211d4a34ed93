import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";
import { deferred } from "./deferred.ts";
import { Disposer } from "./disposer.ts";

test("steps run last in, first out, and a failure stops none of the others", async () => {
  const disposer = new Disposer();
  const done: string[] = [];
  for (const name of ["first", "second", "third"]) {
    disposer.push(name, async () => {
      done.push(name);
      if (name !== "first") throw new Error(`${name} is busy`);
    });
  }
  await assert.rejects(disposer.dispose(), {
    message: "teardown: third: third is busy; second: second is busy",
  });
  assert.deepEqual(done, ["third", "second", "first"]);
});

test("only failed steps are retried, in order, until they succeed", async () => {
  const disposer = new Disposer();
  const done: string[] = [];
  let busy = true;
  disposer.push("one", async () => void done.push("one"));
  for (const name of ["two", "three"]) {
    disposer.push(name, async () => {
      done.push(name);
      if (busy) throw new Error("busy");
    });
  }
  await assert.rejects(disposer.dispose(), /three: busy; two: busy/);
  assert.throws(() => disposer.push("late", async () => undefined), /late: created after teardown began/);
  busy = false;
  await disposer.dispose();
  await disposer.dispose();
  assert.deepEqual(done, ["three", "two", "one", "three", "two"]);
});

test("calls at the same time share one run", async () => {
  const disposer = new Disposer();
  let runs = 0;
  disposer.push("step", async () => void runs++);
  await Promise.all([disposer.dispose(), disposer.dispose()]);
  assert.equal(runs, 1);
});

test("a hung step is abandoned and does not shorten the other steps", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const disposer = new Disposer();
  const left: number[] = [];
  const reasons: (string | undefined)[] = [];
  disposer.push("directory", async (by) => {
    left.push(by.remainingMs);
    by.check();
  });
  const hung = deferred<void>();
  disposer.push("daemon", async (by) => {
    by.onEnd((reason) => reasons.push(reason.message));
    hung.resolve();
    await new Promise(() => undefined);
  });
  const whole = Deadline.after(10, "undo");
  t.mock.timers.tick(10);
  const disposed = assert.rejects(disposer.dispose(whole), /daemon: daemon: timed out after \d+ ms$/);
  await hung.promise;
  t.mock.timers.tick(1_000);
  assert.deepEqual(reasons, ["daemon: timed out after 1000 ms"]);
  t.mock.timers.tick(1_000);
  await disposed;
  assert.ok((left[0] ?? 0) > 500, `${left[0]} ms`);
});
