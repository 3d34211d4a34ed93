import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printable } from "../../src/core/printable.ts";
import { lastLines, RingBuffer } from "../../src/host/ring-buffer.ts";
import { Metrics as MetricsV2 } from "../../src/proto/generated/io/containerd/cgroups/v2/metrics.ts";
import { metricsAny } from "../../src/shim/services/stats/metrics-any.ts";
import { metricsV2 } from "../../src/shim/services/stats/metrics-v2.ts";
import { mutate, mutateText, mutations, numRuns, pieces } from "./mutations.ts";

const FILES = {
  "cpu.stat": "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 9\nnr_throttled 4\n",
  "cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n",
  "memory.current": "1048576\n",
  "memory.max": "max\n",
  "memory.stat": "anon 111\nfile 222\nkernel_stack 16\nslab 30\n",
  "pids.max": "max\n",
  "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
  "rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\n",
  "hugetlb.2MB.current": "2097152\n",
};
const NET_DEV = "h\nh\n  eth0: 5000000 4000 3 2 0 0 0 0 600000 500 7 8 0 0 0 0\n";

test("damaged statistics of a guest become metrics that can be sent, and small ones", () => {
  const names = Object.keys(FILES) as (keyof typeof FILES)[];
  fc.assert(
    fc.property(fc.constantFrom(...names), mutations, mutations, (name, list, others) => {
      const stats = {
        cgroupFiles: { ...FILES, [name]: mutateText(FILES[name], list) },
        netDev: mutateText(NET_DEV, others),
      };
      const metrics = metricsV2(stats);
      const { value } = metricsAny("v2", metrics);
      assert.deepEqual(MetricsV2.encode(MetricsV2.decode(value)).finish(), value);
      assert.ok(value.length + metricsAny("v1", metrics).value.length < 64 * 1024);
    }),
    { numRuns: numRuns * 10 },
  );
});

const CONSOLE = Buffer.from(
  "[    0.000000] Linux version 6.1.0\r\n\u001b[0;32m OK \u001b[0m Started x\r\n\u001b]0;title\u0007é€😀\n".repeat(
    4,
  ),
);
/** What a terminal obeys, what breaks lines or reorders them, and halves of characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
const OBEYED = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

test("a damaged console is kept within its capacity and shown without what a terminal obeys", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        mutations.map((list) => mutate(CONSOLE, list)),
        fc.uint8Array({ maxLength: 400 }),
      ),
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 300 }),
      (bytes, size, capacity) => {
        const ring = new RingBuffer(capacity);
        for (const piece of pieces(bytes, size)) ring.write(piece);
        assert.equal(ring.length, Math.min(capacity, bytes.length));
        const text = ring.text();
        assert.ok(text.length <= capacity);
        assert.doesNotMatch(text, OBEYED);
        assert.equal(printable(text), text, "what was shown once is shown the same again");
        assert.ok(lastLines(text, 5).split("\n").length <= 5);
      },
    ),
    { numRuns: numRuns * 10 },
  );
});

test("a console that is made to take long is shown in time that goes with its length", () => {
  for (const unit of [
    "\u001b[",
    "\u001b]",
    "\u001b ",
    "\u009d",
    "\u001b]\u001b",
    "\r",
    "\u202e",
    "\u001bP\u001b\\",
  ]) {
    const begin = process.cpuUsage(); // of the processor's time: a busy machine is no failure
    printable(unit.repeat(Math.floor((1 << 20) / unit.length)));
    const { user, system } = process.cpuUsage(begin);
    assert.ok(user + system < 5_000_000, `${JSON.stringify(unit)} took ${(user + system) / 1000} ms`);
  }
});
