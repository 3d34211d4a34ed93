// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";
import {
  check,
  decode,
  equal,
  openDescriptors,
  readAll,
  runAll,
  sleep,
  test,
  throwsCode,
} from "./harness.ts";

const SHELL = "/bin/sh";

async function ended(pid: number): Promise<sys.Ended> {
  for (;;) {
    const result = sys.waitpid(pid);
    if (result) return result;
    await sleep(2);
  }
}

async function output(options: Omit<sys.SpawnOptions, "fds">): Promise<string> {
  const [read, write] = sys.pipe();
  const pid = sys.spawn({ ...options, fds: [-1, write, 2] });
  sys.close(write);
  const text = decode(await readAll(read));
  sys.close(read);
  await ended(pid);
  return text;
}

test("waitpid returns exit code and signal", async () => {
  const code = sys.spawn({ argv: [SHELL, "-c", "exit 7"] });
  equal(await ended(code), { pid: code, code: 7, signal: 0 });
  const killed = sys.spawn({ argv: [SHELL, "-c", "kill -9 $$"] });
  equal(await ended(killed), { pid: killed, code: 0, signal: 9 });
  equal(sys.waitpid(-1), null);
});

test("a failing exec throws with its errno and leaves no child and no descriptor", () => {
  const before = openDescriptors();
  throwsCode("ENOENT", () => sys.spawn({ argv: ["/no/such/program"] }));
  throwsCode("ENOENT", () => sys.spawn({ argv: ["no-such-program"], env: ["PATH=/bin:/usr/bin"] }));
  throwsCode("EACCES", () => sys.spawn({ argv: ["/etc/passwd"] }));
  throwsCode("EACCES", () => sys.spawn({ argv: ["/"] }));
  const error = throwsCode("ENOENT", () => sys.spawn({ argv: [SHELL], cwd: "/no/such/directory" }));
  check(error.message.includes("chdir /no/such/directory"), error.message);
  throwsCode("EBADF", () => sys.spawn({ argv: [SHELL], fds: [999] }));
  throwsCode("EINVAL", () => sys.spawn({ argv: [] }));
  throwsCode("ENOENT", () => sys.spawn({ argv: [SHELL], cgroup: "/no/cgroup" }));
  equal(sys.waitpid(-1), null);
  equal(openDescriptors(), before);
});

test("raiseFileLimit changes the limit of this process, not of its children", async () => {
  const limits = () => output({ argv: [SHELL, "-c", "ulimit -n; ulimit -Hn"] });
  const before = await limits();
  const [soft, hard] = before.trim().split("\n").map(Number);
  check(soft !== undefined && hard !== undefined && soft < hard, before);
  sys.raiseFileLimit(hard ?? 0);
  const own = /Max open files +(\d+)/.exec(decode(sys.readFile("/proc/self/limits", 65_536)));
  equal(Number(own?.[1]), hard);
  equal(await limits(), before);
});

test("a child gets environment and working directory, and is found in PATH", async () => {
  equal(
    await output({ argv: [SHELL, "-c", "echo $A-$B; pwd"], env: ["A=1", "B=x y"], cwd: "/usr" }),
    "1-x y\n/usr\n",
  );
  equal(await output({ argv: ["sh", "-c", "echo found"], env: ["PATH=/nowhere::/bin"] }), "found\n");
});

test("descriptors are placed even when they cross, and nothing else is inherited", async () => {
  const [r1, w1] = sys.pipe();
  const [r2, w2] = sys.pipe();
  const pid = sys.spawn({
    argv: [SHELL, "-c", "echo three >&3; echo four >&4; ls /proc/self/fd | wc -l >&4"],
    env: ["PATH=/bin:/usr/bin"],
    fds: [-1, -1, 2, w2, w1],
  });
  sys.close(w1);
  sys.close(w2);
  // 0 to 4 and the directory that ls reads; wc's end of the pipeline is not in ls.
  equal(decode(await readAll(r1)), "four\n6\n");
  equal(decode(await readAll(r2)), "three\n");
  await ended(pid);
  sys.close(r1);
  sys.close(r2);
});

test("signals are unblocked and at their defaults in the child", async () => {
  sys.onSignal(15, () => undefined);
  const status = await output({ argv: ["/bin/cat", "/proc/self/status"] });
  equal(/SigBlk:\t(\w+)/.exec(status)?.[1], "0000000000000000");
  equal(/SigIgn:\t(\w+)/.exec(status)?.[1], "0000000000000000");
});

test("setsid starts a new session", async () => {
  const stat = await output({ argv: ["/bin/cat", "/proc/self/stat"], setsid: true });
  const fields = stat.split(" ");
  equal(fields[5], fields[0]);
});

test("children die with their parent", async () => {
  const [read, write] = sys.pipe();
  // The child is this program with another argument: see the end of the file.
  const pid = sys.spawn({ argv: [sys.argv()[0] ?? "", "orphan"], fds: [-1, write, 2] });
  sys.close(write);
  // The pipe ends once the grandchild, which would sleep for a minute, has been killed.
  const text = decode(await readAll(read));
  check(/^\d+\n$/.test(text), `no pid: ${text}`);
  await ended(pid);
  sys.close(read);
});

test("SIGCHLD reports children, and all are reaped", async () => {
  const left = new Set<number>();
  // A signal handler alone does not keep the loop running.
  const alive = setTimeout(() => check(false, `not reaped within 10 s: ${[...left]}`), 10_000);
  await new Promise<void>((resolve) => {
    sys.onSignal(17, () => {
      for (let child = sys.waitpid(-1); child; child = sys.waitpid(-1)) {
        check(left.delete(child.pid), `unknown child ${child.pid}`);
        equal(child.code, 3);
      }
      if (left.size === 0) resolve();
    });
    for (let i = 0; i < 40; i++) left.add(sys.spawn({ argv: [SHELL, "-c", "exit 3"] }));
  });
  clearTimeout(alive);
  equal(sys.waitpid(-1), null);
});

test("a pidfd becomes readable when the process exits", async () => {
  const pid = sys.spawn({ argv: [SHELL, "-c", "sleep 0.05"], env: ["PATH=/bin:/usr/bin"] });
  const fd = sys.pidfdOpen(pid);
  await new Promise<void>((resolve) =>
    sys.watch(fd, { read: true }, () => {
      sys.unwatch(fd);
      resolve();
    }),
  );
  sys.close(fd);
  sys.waitpid(pid);
  throwsCode("ESRCH", () => sys.kill(pid, 0));
});

if (sys.argv()[1] === "orphan") {
  const child = sys.spawn({ argv: ["/bin/sleep", "60"], fds: [-1, 1, 2], deathSignal: 9 });
  sys.writeFile("/proc/self/fd/1", `${child}\n`, sys.O_WRONLY);
  sys.exit(0);
}
await runAll();
