/** Tasks with `ctr` on a terminal, and the effects of an update in the guest. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { ContainerdClient, ociAny, statusName } from "../testkit/containerd-client.ts";
import { BUSYBOX, type CtrResult } from "../testkit/ctr.ts";
import { forEveryRunner, newestLine, RUNTIMES } from "./fixture.ts";

const MIB = 1 << 20;
const CGROUP = ["--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"];

/** The lines after both terminals, the container's and ctr's: each adds a CR. */
const lines = ({ stdout }: CtrResult) => stdout.trim().split(/\r+\n/);

// ctr sets the size after the program has started.
const SIZE = 'until stty size 2>&1 | grep -q "[1-9]"; do sleep 0.1; done; stty size';

forEveryRunner(
  "task",
  (runner) => {
    it("ctr run -t and ctr tasks exec -t: a terminal of ctr's size, in both directions", async () => {
      const id = runner().id();
      const program = `${SIZE}; read line; echo "got $line"; exit 7`;
      const running = runner().ctr.startOnTerminal([
        ...["run", "--rm", "-t", "--runtime", RUNTIMES.hull, BUSYBOX, id],
        ...["sh", "-c", program],
      ]);
      await running.printed("40 120\r");
      const exec = runner().ctr.startOnTerminal([
        ...["tasks", "exec", "-t", "--exec-id", "e", id],
        ...["sh", "-c", `${SIZE}; exit 5`],
      ]);
      const ended = await exec.ended;
      assert.deepEqual([ended.code, lines(ended)], [5, ["40 120"]]);
      running.closeStdin(Buffer.from("hello\n"));
      const result = await running.ended;
      assert.deepEqual([result.code, lines(result)], [7, ["40 120", "hello", "got hello"]]);
    });

    it("an update changes every limit in the guest; one that cannot be enforced is refused", async () => {
      const id = runner().id();
      const running = runner().start(["sh", "-c", "echo ready; read line"], {
        id,
        flags: CGROUP,
        holdStdin: true,
      });
      const client = new ContainerdClient(runner().containerd.address, runner().ctr);
      const update = (resources: object) =>
        client.tasks.update({ containerId: id, resources: ociAny("LinuxResources", resources) });
      const files = ["cpu.weight", "cpu.max", "cpuset.cpus", "memory.max", "pids.max"];
      const limits = async (exec: string) => {
        const script = `cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat ${files.join(" ")}`;
        const { stdout } = await runner().ctr.expect([
          "tasks",
          "exec",
          "--exec-id",
          exec,
          id,
          "sh",
          "-c",
          script,
        ]);
        return stdout.trim().split("\n");
      };
      try {
        await running.printed("ready\n");
        await update({
          cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0" },
          memory: { limit: 64 * MIB },
          pids: { limit: 20 },
        });
        const changed = ["20", "50000 100000", "0", String(64 * MIB), "20"];
        assert.deepEqual(await limits("a"), changed);
        const refused = await update({ memory: { limit: 64 * 1024 * MIB } }).then(
          () => "OK",
          (error) => `${statusName(error)}: ${(error as Error).message}`,
        );
        assert.match(
          refused,
          new RegExp(`^FAILED_PRECONDITION: .*update container ${id}: a memory limit of 65536 MiB`),
        );
        assert.deepEqual(await limits("b"), changed);
      } finally {
        client.close();
        running.closeStdin();
        await running.ended;
      }
    });
  },
  ["hull"], // with runc, ctr -t sometimes loses the terminal of an exec
  newestLine(), // all lines make the same calls
);
