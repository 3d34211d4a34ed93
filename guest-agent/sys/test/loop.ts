// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";
import { check, equal, runAll, sleep, test, throwsCode } from "./harness.ts";

test("timers fire by time, then by age; promise jobs run between them", async () => {
  const order: string[] = [];
  setTimeout(() => order.push("20"), 20);
  setTimeout(() => order.push("5a"), 5);
  setTimeout(() => {
    order.push("5b");
    void Promise.resolve().then(() => order.push("job"));
  }, 5);
  setTimeout((text: string) => order.push(text), 5, "5c");
  setTimeout(() => order.push("0"), 0);
  await sleep(40);
  equal(order, ["0", "5a", "5b", "job", "5c", "20"]);
});

test("a timer never fires early", async () => {
  const start = sys.monotonicMs();
  await sleep(15);
  check(sys.monotonicMs() - start >= 15, "fired early");
});

test("a cleared timer does not fire, also when cleared by another that is due", async () => {
  let fired = 0;
  const second = { id: 0 };
  setTimeout(() => clearTimeout(second.id as never), 3);
  second.id = sys.setTimer(3, () => fired++);
  const gone = setTimeout(() => fired++, 1);
  clearTimeout(gone);
  clearTimeout(gone);
  await sleep(20);
  equal(fired, 0);
});

test("of a thousand timers none fires before an older one that is due no later", async () => {
  const newest = new Array<number>(10).fill(-1);
  let fired = 0;
  for (let i = 0; i < 1000; i++) {
    const ms = i % 10;
    setTimeout(() => {
      check(
        newest.slice(ms).every((index) => index < i),
        `timer ${i} of ${ms} ms fired late`,
      );
      newest[ms] = i;
      fired++;
    }, ms);
  }
  while (fired < 1000) await sleep(10);
});

test("watch reports data and hang-up, unwatch stops that", async () => {
  const [read, write] = sys.pipe();
  const seen: string[] = [];
  sys.watch(read, { read: true }, (ready) => {
    const count = ready.read ? sys.read(read, new Uint8Array(8), 0, 8) : 0;
    seen.push(`${ready.read} ${ready.hangup} ${count}`);
    if (ready.hangup) sys.unwatch(read);
  });
  sys.write(write, new Uint8Array(3), 0, 3);
  await sleep(5);
  sys.close(write);
  await sleep(5);
  equal(seen, ["true false 3", "false true 0"]);
  sys.close(read);
});

test("read and write return -1 on an empty or full pipe", () => {
  const [read, write] = sys.pipe();
  const block = new Uint8Array(65536);
  equal(sys.read(read, block, 0, 1), -1);
  while (sys.write(write, block, 0, block.length) > 0);
  equal(sys.write(write, block, 0, block.length), -1);
  sys.close(read);
  throwsCode("EPIPE", () => sys.write(write, block, 0, 1));
  sys.close(write);
});

test("a reused descriptor number does not get the old watch", async () => {
  let old = 0;
  const [read, write] = sys.pipe();
  sys.watch(read, { read: true }, () => old++);
  sys.close(read);
  sys.close(write);
  const [again, other] = sys.pipe();
  equal(again, read);
  let fresh = 0;
  sys.watch(again, { read: true }, () => {
    fresh++;
    sys.unwatch(again);
  });
  sys.write(other, new Uint8Array(1), 0, 1);
  await sleep(5);
  equal([old, fresh], [0, 1]);
  sys.close(again);
  sys.close(other);
});

test("every one of 500 ready descriptors is reported", async () => {
  const pairs = Array.from({ length: 250 }, () => sys.pipe());
  const seen = new Set<number>();
  for (const [read] of pairs) {
    sys.watch(read, { read: true }, () => {
      seen.add(read);
      sys.unwatch(read);
    });
  }
  for (const [, write] of pairs) sys.write(write, new Uint8Array(1), 0, 1);
  await sleep(30);
  equal(seen.size, pairs.length);
  for (const [read, write] of pairs) {
    sys.close(read);
    sys.close(write);
  }
});

test("signals come through the loop", async () => {
  let seen = 0;
  sys.onSignal(10, () => seen++);
  sys.kill(sys.getpid(), 10);
  equal(seen, 0);
  await sleep(5);
  equal(seen, 1);
});

test("arguments out of range are refused", () => {
  const [read, write] = sys.pipe();
  const buffer = new Uint8Array(4);
  const bad: [number, number][] = [
    [0, 5],
    [5, 0],
    [-1, 1],
    [2, 3],
    [0, -1],
  ];
  for (const [offset, length] of bad) {
    let error: unknown;
    try {
      sys.read(read, buffer, offset, length);
    } catch (thrown) {
      error = thrown;
    }
    check(error instanceof RangeError, `offset ${offset} length ${length}`);
  }
  throwsCode("EBADF", () => sys.watch(-1, { read: true }, () => undefined));
  sys.close(read);
  sys.close(write);
});

await runAll();
