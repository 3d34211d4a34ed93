import type { OciProcess } from "../../testkit/containerd-client.ts";
import { answer, type ParityCase, refusal, type Subject } from "./subject.ts";

const WRONG_STATE = "FAILED_PRECONDITION";

const field = async ({ host }: Subject, process: Partial<OciProcess>, pattern: string) => {
  const { out } = await host.run({ args: ["grep", "-E", pattern, "/proc/self/status"], ...process });
  return out
    .trim()
    .replaceAll(/[ \t]+/g, " ")
    .split("\n");
};

const ALL_SETS = (names: string[]) =>
  Object.fromEntries(
    ["bounding", "effective", "permitted", "inheritable"].map((set) => [set, names]),
  ) as OciProcess["capabilities"] & object;

/** Starts an exec that cannot run, and returns its error. */
async function failing({ host }: Subject, args: string[], cause: RegExp) {
  const exec = await host.exec(args);
  try {
    const error = await refusal(exec.start(), cause);
    return error === "OK" ? `started, exited with ${await exec.exited()}` : error;
  } finally {
    await exec.delete();
  }
}

export const EXEC_CASES: readonly ParityCase[] = [
  {
    name: "exec: arguments are passed unchanged",
    run: ({ host }) =>
      host.run(["printf", "<%s>\\n", "a b", "", "\"quoted\" 'twice'", "$HOME", "zażółć 漢字", "line\nbreak"]),
  },
  {
    name: "exec: environment",
    run: ({ host }) => host.run({ args: ["env"], env: ["PATH=/bin", "EMPTY=", "EQUALS=a=b", "BLANKS= x "] }),
  },
  { name: "exec: working directory", run: ({ host }) => host.run({ args: ["pwd"], cwd: "/etc" }) },
  {
    name: "exec: user, group and supplementary groups",
    run: ({ host }) =>
      host.run({
        args: ["sh", "-c", "id -u; id -g; id -G"],
        user: { uid: 1000, gid: 1001, additionalGids: [7, 8] },
      }),
  },
  {
    name: "exec: umask",
    run: ({ host }) => host.run({ args: ["sh", "-c", "umask"], user: { uid: 0, gid: 0, umask: 0o27 } }),
    hull: {
      does: { code: 0, out: "0027\n", err: "" },
      why: "crun applies an exec's `user.umask`, runc 1.1 does not",
    },
  },
  {
    name: "exec: selected capabilities",
    run: (subject) =>
      field(
        subject,
        { capabilities: ALL_SETS(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]) },
        "^Cap(Inh|Prm|Eff|Bnd)",
      ),
  },
  {
    name: "exec: no capabilities for a non-root user",
    run: (subject) =>
      field(subject, { capabilities: ALL_SETS([]), user: { uid: 1000, gid: 1000 } }, "^Cap(Prm|Eff|Bnd)"),
  },
  {
    name: "exec: no_new_privileges",
    run: async (subject) => [
      await field(subject, { noNewPrivileges: true }, "^NoNewPrivs"),
      await field(subject, { noNewPrivileges: false }, "^NoNewPrivs"),
    ],
  },
  {
    name: "exec: resource limits",
    run: ({ host }) =>
      host.run({
        args: ["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -s; ulimit -Hs"],
        rlimits: [
          // The Go runtime in runc 1.1 may raise the soft limit to the hard limit.
          { type: "RLIMIT_NOFILE", soft: 300, hard: 300 },
          { type: "RLIMIT_CORE", soft: 0, hard: 0 },
          { type: "RLIMIT_STACK", soft: 4 << 20, hard: 8 << 20 },
        ],
      }),
  },
  {
    name: "exec: exit statuses and signals",
    run: async ({ host }) => {
      const scripts = [
        "exit 0",
        "exit 1",
        "exit 126",
        "exit 255",
        "kill -9 $$",
        "kill -TERM $$",
        "kill -SEGV $$",
      ];
      return (await Promise.all(scripts.map((script) => host.sh(script)))).map(({ code }) => code);
    },
  },
  {
    name: "exec: a missing program",
    run: (subject) => failing(subject, ["/no/such"], /exec: "\/no\/such": stat .*no such file or directory/),
  },
  {
    name: "exec: a program that is not in PATH",
    run: (subject) => failing(subject, ["nosuch"], /exec: "nosuch": executable file not found in \$PATH/),
  },
  {
    name: "exec: a file that is not executable",
    run: (subject) => failing(subject, ["/etc/passwd"], /exec: "\/etc\/passwd": permission denied/),
  },
  {
    name: "exec: a file of an unknown format",
    run: async (subject) => {
      await subject.host.sh("echo garbage >/tmp/garbage; chmod +x /tmp/garbage");
      return await failing(subject, ["/tmp/garbage"], /exec format error/);
    },
  },
  {
    name: "exec: a working directory that does not exist",
    run: async ({ host }) => {
      const exec = await host.exec({ args: ["true"], cwd: "/no/such/directory" });
      try {
        return await refusal(exec.start(), /chdir|no such file or directory/);
      } finally {
        await exec.delete();
      }
    },
  },
  {
    name: "exec: in a created, a paused and a stopped container",
    run: async (subject) => {
      const task = await subject.create(["sh", "-c", "read line; exit 5"], { stdin: true });
      const { containerId } = task;
      try {
        const start = async () => {
          const exec = await task.exec(["true"]);
          try {
            await exec.start();
            return (await exec.ended()).code;
          } finally {
            await exec.delete().catch(() => undefined);
          }
        };
        const created = await answer(start());
        await task.start();
        await subject.client.tasks.pause({ containerId });
        const paused = await answer(start());
        await subject.client.tasks.resume({ containerId });
        task.write("go\n");
        const { code } = await task.ended();
        return { created, paused, code, stopped: await answer(start()) };
      } finally {
        await task.remove();
      }
    },
    hull: {
      does: { created: WRONG_STATE, paused: WRONG_STATE, code: 5, stopped: WRONG_STATE },
      why: "runc runs execs before init has started, hull only after; and a call in the wrong state is FailedPrecondition, not Unknown",
    },
  },
  {
    name: "exec: the same id twice, and the container's own id",
    run: async ({ host }) => {
      const first = await host.exec(["true"], { id: "twice" });
      const again = await answer(host.exec(["true"], { id: "twice" }));
      await first.delete();
      return { again, own: await host.run(["echo", "own"], { id: host.containerId } as object) };
    },
  },
  {
    name: "exec: its states, and calls made too early or too late",
    run: async ({ host }) => {
      const exec = await host.exec(["sh", "-c", "read line; exit 4"], { stdin: true });
      const added = await exec.state();
      await exec.start();
      const started = await exec.state();
      const startedTwice = await answer(exec.start());
      const deletedAlive = await answer(exec.delete());
      exec.write("go\n");
      const { code } = await exec.ended();
      const ended = {
        state: await exec.state(),
        kill: await answer(exec.kill(9)),
        wait: await exec.exited(),
      };
      const deleted = await exec.delete();
      const gone = {
        state: await answer(exec.state()),
        kill: await answer(exec.kill(9)),
        again: await answer(exec.delete()),
      };
      return { added, started, startedTwice, deletedAlive, code, ended, deleted, gone };
    },
    hull: {
      does: {
        ...{
          added: "CREATED",
          started: "RUNNING",
          startedTwice: WRONG_STATE,
          deletedAlive: WRONG_STATE,
          code: 4,
        },
        ended: { state: "STOPPED", kill: "NOT_FOUND", wait: 4 },
        deleted: 4,
        gone: { state: "NOT_FOUND", kill: "NOT_FOUND", again: "NOT_FOUND" },
      },
      why: "a call in the wrong state is FailedPrecondition, containerd's class for it; runc's shim returns Unknown",
    },
  },
  {
    name: "exec: 50 concurrently",
    lines: ["2"],
    run: async ({ host }) => {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          host.sh(`echo out ${index}; echo err ${index} >&2; exit ${index}`),
        ),
      );
      return results.map(({ code, out, err }) => `${code} ${out.trim()} ${err.trim()}`);
    },
  },
];
