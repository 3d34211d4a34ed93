/** What only a host with KVM shows: run in the lab (hack/lab) by `hack/test lab`. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { forEveryRunner, newestLine } from "../e2e/fixture.ts";
import { writeConfig } from "../e2e/hull-config.ts";
import type { RunningCtr } from "../testkit/ctr.ts";
import { hostProcesses } from "../testkit/host-processes.ts";

/** Everything takes long in an emulated host. */
const LIMIT_MS = 300_000;
/** The clock is as late as the message that sets it: here some 20 ms, on hardware a fifteenth of that. */
const CLOCK_TOLERANCE_MS = 100;
const CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const HUGE_PAGES = "/proc/sys/vm/nr_hugepages";

/** The arguments and open files of a QEMU. */
interface RunningQemu {
  readonly argv: readonly string[];
  readonly files: readonly string[];
}

/** Returns the only QEMU that runs. */
async function onlyQemu(): Promise<RunningQemu> {
  const found = (await hostProcesses()).filter(({ argv }) => /qemu-system-/.test(argv[0] ?? ""));
  const [qemu] = found;
  assert.ok(qemu && found.length === 1, JSON.stringify(found));
  const { pid, argv } = qemu;
  const fds = await readdir(`/proc/${pid}/fd`);
  const files = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  return { argv, files };
}

forEveryRunner(
  "kvm",
  (runner) => {
    let directory = "";
    before(async () => {
      directory = await mkdtemp("/dev/shm/hull-kvm-");
    });
    after(() => rm(directory, { recursive: true, force: true }));

    /** Writes a configuration and returns ctr's flags for it. */
    async function config(name: string, hypervisor: Record<string, unknown>): Promise<string[]> {
      const file = join(directory, `${name}.yaml`);
      await writeConfig(file, { hypervisor });
      return ["--runtime-config-path", file];
    }

    /** Runs a container, and `look` while it waits for the end of its stdin. Returns what it printed. */
    async function whileRunning(
      script: string,
      flags: readonly string[],
      look: (running: RunningCtr) => Promise<void>,
    ): Promise<string> {
      const argv = ["sh", "-c", `${script}; echo ready; read line`];
      const running = runner().start(argv, { flags, holdStdin: true, timeoutMs: LIMIT_MS });
      await running.printed("ready\n");
      await look(running);
      running.closeStdin(Buffer.from("\n"));
      const result = await running.ended;
      assert.equal(result.code, 0, result.stderr);
      return result.stdout;
    }

    it("finds KVM and the kernel's vsock by itself, and uses both for a clone", async () => {
      const flags = await config("auto", {});
      const printed = await whileRunning(`cat ${CLOCKSOURCE}`, flags, async () => {
        const { argv, files } = await onlyQemu();
        assert.ok(
          argv.some((arg) => arg.startsWith("q35,accel=kvm,")),
          argv.join(" "),
        );
        assert.ok(argv.includes("-incoming"), "it is no clone");
        for (const device of ["/dev/kvm", "/dev/vhost-vsock"]) assert.ok(files.includes(device), device);
      });
      assert.equal(printed, "kvm-clock\nready\n");
      const answers: { obstacle?: unknown }[] = JSON.parse(await readFile("/run/hull/accel.json", "utf8"));
      assert.deepEqual(
        answers.map(({ obstacle }) => obstacle),
        [undefined],
      );
    });

    it("sets a clone's clock to the host's, and it only goes forward", async () => {
      // A file in the root file system has the time of the host, whose virtiofsd makes it.
      const script = `
        cat ${CLOCKSOURCE}
        i=0; last=0; while [ $i -lt 200 ]; do
          read now rest </proc/uptime; now=\${now%.*}\${now#*.}
          [ $now -ge $last ] || echo back; last=$now; i=$((i+1))
        done
        echo ready
        while read n; do touch /dev/shm/$n; stat -c "$n %y;" /dev/shm/$n; done`;
      const flags = await config("auto", {});
      const running = runner().start(["sh", "-c", script], { flags, holdStdin: true, timeoutMs: LIMIT_MS });
      await running.printed("ready\n");
      const asked: { before: number; until: number }[] = [];
      for (let n = 0; n < 20; n++) {
        const before = Date.now();
        running.write(`${n}\n`);
        await running.printed(`\n${n} `);
        asked.push({ before, until: Date.now() });
      }
      running.closeStdin();
      const { stdout, code, stderr } = await running.ended;
      assert.equal(code, 0, stderr);
      const [clock, ready, ...answers] = stdout.trimEnd().split("\n");
      assert.deepEqual([clock, ready], ["kvm-clock", "ready"]);
      for (const [n, { before, until }] of asked.entries()) {
        const time = Date.parse(answers[n]?.replace(/^\d+ (\S+) (\S{12}).*/, "$1T$2Z") ?? "");
        const [from, to] = [before - CLOCK_TOLERANCE_MS, until + CLOCK_TOLERANCE_MS];
        assert.ok(time >= from && time <= to, `${before} ${answers[n]} ${until}`);
      }
    });

    it("runs without a template: q35, microvm, and a named CPU model", async () => {
      const plain = { template: { enable: false } };
      const model = "grep -m 1 '^model name' /proc/cpuinfo";
      const cases = [
        { name: "host", hypervisor: { ...plain, cpu_model: "host" } },
        { name: "microvm", hypervisor: { ...plain, machine_type: "microvm" } },
        { name: "EPYC", hypervisor: { ...plain, cpu_model: "EPYC" } },
      ];
      for (const { name, hypervisor } of cases) {
        const result = await runner().sh(`${model}; cat ${CLOCKSOURCE}`, {
          flags: await config(name, hypervisor),
          timeoutMs: LIMIT_MS,
        });
        assert.equal(result.code, 0, `${name}: ${result.stderr}`);
        assert.match(result.stdout, /^model name\s*: .*EPYC.*\nkvm-clock\n$/, name);
      }
    });

    it("backs a guest's memory with huge pages", async () => {
      const pages = 140;
      await writeFile(HUGE_PAGES, String(pages));
      try {
        const flags = await config("huge", { enable_hugepages: true, template: { enable: false } });
        await whileRunning("true", flags, async () => {
          const info = await readFile("/proc/meminfo", "utf8");
          const free = Number(/HugePages_Free:\s+(\d+)/.exec(info)?.[1]);
          const reserved = Number(/HugePages_Rsvd:\s+(\d+)/.exec(info)?.[1]);
          assert.equal(pages - free + reserved, 128);
        });
      } finally {
        await writeFile(HUGE_PAGES, "0");
      }
    });
  },
  ["hull"],
  newestLine(),
);
