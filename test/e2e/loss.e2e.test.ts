/** No output of a process is lost, whatever the load. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { newestLine } from "./fixture.ts";
import { hullBehind } from "./parity/subject.ts";

const EXECS = 280;
const CONTAINERS = 20;
const AT_ONCE = 8;
const MIB = 1 << 20;
/** HULL_BULK_MIB: the size of the bulk test; releases are tested with 1024. */
const BULK_MIB = Number(process.env.HULL_BULK_MIB ?? 64);
const STATE_P99_MS = 10_000;

/** Runs `count` jobs, `AT_ONCE` of them at a time. */
async function inTurns(count: number, job: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) await job(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const [line = "2"] = newestLine();

describe(`containerd ${line}: loss`, () => {
  const subject = hullBehind(line);

  it(`${EXECS} execs, ${AT_ONCE} at a time, print a line and exit: every line and status is right`, async () => {
    const wrong: string[] = [];
    await inTurns(EXECS, async (index) => {
      const code = index % 256;
      const { host } = subject();
      const ended = await host.sh(`echo line ${index}; echo error ${index} >&2; exit ${code}`);
      if (ended.code !== code || ended.out !== `line ${index}\n` || ended.err !== `error ${index}\n`)
        wrong.push(`${index}: ${JSON.stringify(ended)}`);
    });
    assert.deepEqual(wrong, []);
  });

  it(`${CONTAINERS} containers, ${AT_ONCE} at a time, print a line and exit`, async () => {
    const wrong: string[] = [];
    await inTurns(CONTAINERS, async (index) => {
      const ended = await subject().with(
        ["sh", "-c", `echo line ${index}; exit ${index}`],
        async (task) => await task.ended(),
      );
      if (ended.code !== index || ended.out !== `line ${index}\n`)
        wrong.push(`${index}: ${JSON.stringify(ended)}`);
    });
    assert.deepEqual(wrong, []);
  });

  it(`${BULK_MIB} MiB of output arrive unchanged`, async (t) => {
    const line = "0123456789abcde\n";
    const expected = createHash("sha256");
    const block = Buffer.from(line.repeat(MIB / line.length));
    for (let mib = 0; mib < BULK_MIB; mib++) expected.update(block);
    const { host } = subject();
    const exec = await host.exec([
      "sh",
      "-c",
      `yes 0123456789abcde | head -c ${MIB} >/tmp/block; i=0; while [ $i -lt ${BULK_MIB} ]; do cat /tmp/block; i=$((i+1)); done`,
    ]);
    const begin = performance.now();
    await exec.start();
    const { code } = await exec.ended(600_000);
    const seconds = (performance.now() - begin) / 1000;
    t.diagnostic(`${Math.round(BULK_MIB / seconds)} MiB/s`);
    assert.equal(code, 0);
    assert.equal(exec.stdout?.bytes, BULK_MIB * MIB);
    assert.equal(exec.stdout?.sha256(), expected.digest("hex"));
    await exec.delete();
  });

  it("a stalled reader delays neither other streams nor State", async (t) => {
    const { host } = subject();
    const stalled = await host.exec(["sh", "-c", "yes | head -c 33554432"]);
    stalled.stdout?.pause();
    await stalled.start();
    const times: number[] = [];
    let busy = true;
    const asking = (async () => {
      while (busy) {
        const begin = performance.now();
        await host.state();
        times.push(performance.now() - begin);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    for (let index = 0; index < 5; index++)
      assert.deepEqual(await host.sh(`echo ${index}; exit ${index}`), {
        code: index,
        out: `${index}\n`,
        err: "",
      });
    busy = false;
    await asking;
    times.sort((a, b) => a - b);
    const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
    t.diagnostic(`State: ${times.length} calls, p99 ${p99.toFixed(1)} ms`);
    assert.ok(p99 < STATE_P99_MS, `p99 ${p99} ms`);
    stalled.stdout?.resume();
    const { code } = await stalled.ended();
    assert.deepEqual({ code, bytes: stalled.stdout?.bytes }, { code: 0, bytes: 32 * MIB });
    await stalled.delete();
  });
});
