import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "../../../src/core/poll-until.ts";
import type { Task } from "../../testkit/task.ts";
import { within } from "../../testkit/within.ts";
import { answer, type ParityCase, refusal, type Subject, withExec } from "./subject.ts";

const MIB = 1 << 20;

/** A logger like nerdctl's: reports that it is ready, then writes a JSON object per line of either stream. */
const LOGGER = `#!/bin/sh
file=$2
echo "{\\"id\\":\\"$CONTAINER_ID\\",\\"namespace\\":\\"$CONTAINER_NAMESPACE\\",\\"args\\":\\"$*\\"}" >"$file"
exec 5>&-
log() { while read -r line; do echo "{\\"stream\\":\\"$1\\",\\"log\\":\\"$line\\"}" >>"$file"; done; }
log stdout <&3 &
log stderr <&4 &
wait
echo "{\\"end\\":true}" >>"$file"
`;

async function script(subject: Subject, name: string, text: string): Promise<string> {
  const path = join(subject.containerd.directory, `${name}-${subject.runtime}`);
  await writeFile(path, text);
  await chmod(path, 0o755);
  return path;
}

/**
 * Returns a program that writes something, keeps running, and exits with a status on request: at a program's
 * exit runc's shim may lose output that is in flight, and kills its logger.
 */
const writes = (script: string, status: number) => [
  "sh",
  "-c",
  `trap 'exit ${status}' TERM; ${script}; sleep 1000 & wait`,
];

/** Waits until a file has this many lines, and makes the task exit. Resolves with its status. */
async function endOnce(lines: number, path: string, task: Task): Promise<number> {
  const text = () => readFile(path, "utf8").catch(() => "");
  await pollUntil(
    async () => (await text()).split("\n").length > lines,
    within(60_000, `${lines} lines in ${path}`),
  );
  await task.kill(15);
  return await task.exited();
}

export const STDIO_CASES: readonly ParityCase[] = [
  {
    name: "stdio: stdout and stderr are separate, no newline is added",
    run: ({ host }) => host.sh("echo out; printf err >&2; printf end"),
  },
  {
    name: "stdio: end of input",
    run: async ({ host }) => {
      return await withExec(host, ["sh", "-c", "wc -c; echo done"], { stdin: true }, async (exec) => {
        await exec.start();
        exec.write("12345");
        await exec.closeStdin();
        return await exec.ended();
      });
    },
  },
  {
    name: "stdio: without any stream",
    run: ({ host }) => host.run(["sh", "-c", "echo lost; exit 3"], { uri: "" }),
  },
  {
    name: "stdio: a late reader",
    run: async ({ host, runtime }) => {
      return await withExec(
        host,
        ["sh", "-c", "echo early; read line; echo late; exit 2"],
        {
          stdin: true,
          readLater: true,
        },
        async (exec) => {
          // runc answers Start only when there is a reader.
          const started = exec.start();
          if (runtime === "hull") await started;
          exec.read();
          await started;
          exec.write("go\n");
          return await exec.ended();
        },
      );
    },
  },
  {
    name: "stdio: a reader that disconnects, and one that connects later",
    run: async ({ host }) => {
      return await withExec(
        host,
        ["sh", "-c", "while read line; do echo $line; echo $line >>/tmp/unread; done; exit 8"],
        {
          stdin: true,
        },
        async (exec) => {
          await exec.start();
          exec.write("one\n");
          await exec.stdout?.printed("one");
          exec.stdout?.close();
          await exec.stdout?.ended;
          exec.write("two\n");
          await host.sh("until grep -q two /tmp/unread; do sleep 0.1; done; rm /tmp/unread");
          const state = await exec.state();
          exec.read();
          await exec.stdout?.printed("two");
          await exec.closeStdin();
          const { code, out } = await exec.ended();
          return { state, code, out };
        },
      );
    },
  },
  {
    name: "stdio: a slow reader gets every byte",
    run: async ({ host }) => {
      return await withExec(host, ["sh", "-c", "yes 0123456789abcde | head -c 3145728"], {}, async (exec) => {
        exec.stdout?.pause();
        await exec.start();
        await host.sh("echo others are not held up"); // meanwhile
        exec.stdout?.resume();
        const { code } = await exec.ended();
        return { code, mib: (exec.stdout?.bytes ?? 0) / MIB, sha256: exec.stdout?.sha256() ?? "" };
      });
    },
  },
  {
    name: "stdio: a background child does not delay the exit",
    run: async ({ host }) => {
      const begin = performance.now();
      const exec = await host.exec(["sh", "-c", "sleep 300 & echo started"]);
      try {
        await exec.start();
        const code = await exec.exited();
        await exec.stdout?.printed("started");
        return { code, heldBack: performance.now() - begin > 100_000 };
      } finally {
        await exec.delete();
        await host.sh("pkill -f 'sleep 300'; true");
      }
    },
  },
  {
    name: "stdio: file:// appends both streams and creates directories",
    run: async (subject) => {
      const path = join(subject.containerd.directory, `logs-${subject.runtime}`, "sub", "log");
      const runs = ["first", "second"];
      for (const [index, text] of runs.entries()) {
        await subject.with(
          writes(`echo ${text}; echo ${text} error >&2`, 0),
          (task) => endOnce(2 * (index + 1), path, task),
          { uri: `file://${path}` },
        );
      }
      const text = await readFile(path, "utf8");
      return { mode: ((await stat(path)).mode & 0o777).toString(8), lines: text.trim().split("\n").sort() };
    },
  },
  {
    name: "stdio: binary:// logger",
    run: async (subject) => {
      const logger = await script(subject, "logger", LOGGER);
      const log = join(subject.containerd.directory, `log-${subject.runtime}.json`);
      const code = await subject.with(writes("echo one; echo two >&2", 4), (task) => endOnce(3, log, task), {
        id: "logged",
        uri: `binary://${logger}?-file=${log}`,
      });
      const lines = (await readFile(log, "utf8"))
        .trim()
        .replaceAll(log, "LOG")
        .replaceAll(subject.client.namespace, "NAMESPACE")
        .split("\n");
      return {
        code,
        first: lines[0] ?? "",
        lines: lines
          .slice(1)
          .filter((line) => !line.includes('"end"'))
          .sort(),
      };
    },
  },
  {
    name: "stdio: a logger that exits before it is ready",
    run: async (subject) => {
      const logger = await script(subject, "broken-logger", "#!/bin/sh\necho broken >&2\nexit 3\n");
      const created = await answer(
        subject.with(["true"], async (task) => await task.exited(), { uri: `binary://${logger}` }),
      );
      return { refused: created !== "OK" };
    },
    hull: {
      does: { refused: true },
      why: "runc takes the exit of a logger as its readiness and runs a container whose output is lost; hull refuses it with the logger's status",
    },
  },
  {
    name: "stdio: an unknown scheme",
    run: async (subject) =>
      await refusal(subject.create(["true"], { uri: "carrier-pigeon:///x" }), /carrier-pigeon/),
  },
];
