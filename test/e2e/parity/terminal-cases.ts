import { type ParityCase, withExec } from "./subject.ts";

const TERMINAL = { terminal: true, stdin: true } as const;
const LOOP = "while :; do sleep 0.1; done";

export const TERMINAL_CASES: readonly ParityCase[] = [
  {
    name: "terminal: is a tty, and lines end in CR LF",
    run: ({ host }) => host.sh("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; echo error >&2", TERMINAL),
  },
  {
    name: "terminal: the size in the spec",
    run: ({ host }) =>
      host.run({ args: ["stty", "size"], consoleSize: { width: 100, height: 40 } }, { terminal: true }),
  },
  {
    name: "terminal: a resize sends SIGWINCH",
    run: async ({ host }) => {
      return await withExec(
        host,
        ["sh", "-c", `trap 'stty size; exit 3' WINCH; echo ready; ${LOOP}`],
        TERMINAL,
        async (exec) => {
          await exec.start();
          await exec.stdout?.printed("ready");
          await exec.resize(132, 50);
          return await exec.ended();
        },
      );
    },
  },
  {
    name: "terminal: Ctrl-C is SIGINT",
    run: async ({ host }) => {
      return await withExec(
        host,
        ["sh", "-c", `trap 'echo got; exit 9' INT; echo ready; ${LOOP}`],
        TERMINAL,
        async (exec) => {
          await exec.start();
          await exec.stdout?.printed("ready");
          exec.write("\x03");
          return await exec.ended();
        },
      );
    },
  },
  {
    name: "terminal: Ctrl-D is end of file",
    run: async ({ host }) => {
      return await withExec(host, ["cat"], TERMINAL, async (exec) => {
        await exec.start();
        exec.write("hello\n");
        await exec.stdout?.printed("hello\r\nhello\r\n");
        exec.write("\x04");
        return await exec.ended();
      });
    },
  },
  {
    name: "terminal: job control of a shell",
    run: async ({ host }) => {
      return await withExec(host, ["sh", "-i"], TERMINAL, async (exec) => {
        await exec.start();
        // A job gets the terminal before it runs.
        exec.write(`sh -c "echo be''gin; exec sleep 1000"\n`);
        await exec.stdout?.printed("begin");
        exec.write("\x1a");
        await exec.stdout?.printed("Stopped");
        // The first one only warns about the stopped job.
        exec.write("exit 5\nexit 5\n");
        const { code, out } = await exec.ended();
        return { code, stopped: /\[1\]\+\s+Stopped\s+sh -c /.test(out) };
      });
    },
  },
  {
    name: "terminal: the last line before a fast exit",
    run: async ({ host }) => {
      const results = [];
      for (let index = 0; index < 5; index++) {
        const { code, out } = await host.run(["echo", `line ${index}`], { terminal: true });
        results.push({ code, out });
      }
      return results;
    },
  },
  {
    name: "terminal: a container's own, resized before and after the start",
    run: async (subject) => {
      const script = "stty size; read line; stty size; exit 6";
      const task = await subject.create(["sh", "-c", script], TERMINAL);
      try {
        await task.resize(34, 12);
        await task.start();
        await task.stdout?.printed("\n");
        await task.resize(81, 31);
        task.write("go\n");
        const { code, out } = await task.ended();
        return { code, out: out.replace("go\r\n", "") };
      } finally {
        await task.remove();
      }
    },
  },
];
