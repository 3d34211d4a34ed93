import { type Listeners, serve } from "../../../guest-agent/src/boot/boot.ts";
import type { Log } from "../../../guest-agent/src/log.ts";
import { type OpenFile, openPair, release } from "./fake-file.ts";
import { type Child, FakeSys } from "./fake-sys.ts";

const SIGKILL = 9;
const CGROUPS = "/sys/fs/cgroup";

/** A container process, controlled by a test's script. */
interface FakeProcess {
  readonly pid: number;
  readonly args: string[];
  readonly files: (OpenFile | undefined)[];
  /** Writes to stdout (1) or stderr (2); throws if it does not fit in the pipe. */
  print(text: string, fd?: number): void;
  /** Reads what stdin has. */
  read(): string;
  exit(code: number): void;
  /** Signal handlers; other signals have their default effect. */
  readonly handlers: Map<number, () => void>;
}

interface Group {
  path: string;
  pids: Set<number>;
  init: number;
  frozen: string;
}

type Spec = { process: { args: string[]; terminal?: boolean }; linux: { cgroupsPath: string } };

/**
 * A guest with a simulated kernel and crun, in which the real agent runs. Programs are scripts by name;
 * without a script a program does not exist.
 */
export class FakeGuest {
  readonly fake = new FakeSys();
  readonly scripts = new Map<string, (process: FakeProcess) => void>();
  readonly processes = new Map<number, FakeProcess>();
  readonly logLines: string[] = [];
  readonly listeners: Listeners;
  /** The crun commands that were run. */
  readonly crunCalls: string[] = [];
  /** If set, the next crun fails with this message. */
  failure: string | undefined;
  /** If set, crun waits for it. */
  gate: Promise<void> | undefined;
  readonly #groups = new Map<string, Group>();

  constructor() {
    const { fake } = this;
    for (const directory of [
      "/run/hull/containers",
      "/run/hull/console",
      "/run/crun",
      `${CGROUPS}/hull`,
      "/proc/net",
      "/etc",
    ]) {
      fake.tree.mkdirp(directory);
    }
    fake.tree.write("/proc/net/dev", "lo: 0 0\n");
    fake.programs.set("crun", (child) => void this.#crun(child));
    fake.onKill = (pid, signal) => this.#signal(pid, signal);
    this.listeners = { agent: fake.listen(), stdio: fake.listen() };
    const log: Log = (level, text) => this.logLines.push(`${level}: ${text}`);
    serve(fake.sys, log, "0.0.0-test", this.listeners, "/usr/bin/crun", {
      connected: () => undefined,
      started: () => undefined,
    });
  }

  /** Returns a process by the name of its program. */
  process(name: string): FakeProcess {
    for (const process of this.processes.values()) if (process.args[0] === name) return process;
    throw new Error(`no process ${name}`);
  }

  /** Counts an OOM kill in a container's cgroup. */
  oomKill(containerId: string, total: number): void {
    this.fake.tree.write(`${CGROUPS}/hull/${containerId}/memory.events`, `oom 1\noom_kill ${total}\n`);
  }

  async #crun(child: Child): Promise<void> {
    const [, ...args] = child.spawn.argv;
    const option = (name: string): string | undefined =>
      args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
    const command = args.find((arg) => !arg.startsWith("--")) ?? "";
    const id = args.at(-1) ?? "";
    this.crunCalls.push(`${command} ${id}`);
    await this.gate;
    const status = this.#perform(command, id, option, child);
    for (const file of child.files) if (file) release(file);
    this.fake.end(child.pid, status);
    this.fake.poke();
  }

  #perform(command: string, id: string, option: (name: string) => string | undefined, child: Child): number {
    const { tree } = this.fake;
    const fail = (message: string): number => {
      const log = option("log")?.slice("file:".length) ?? "";
      tree.write(log, `${JSON.stringify({ msg: message, level: "error" })}\n`);
      return 1;
    };
    if (this.failure !== undefined) {
      const message = this.failure;
      this.failure = undefined;
      return fail(message);
    }
    if (command === "update") return 0;
    const isExec = command === "exec";
    const spec = isExec
      ? { process: JSON.parse(tree.text(option("process") ?? "")) as Spec["process"] }
      : (JSON.parse(tree.text(`${option("bundle")}/config.json`)) as Spec);
    const script = this.scripts.get(spec.process.args[0] ?? "");
    if (!script)
      return fail(
        `executable file \`${spec.process.args[0]}\` not found in $PATH: No such file or directory`,
      );
    const group = isExec ? this.#groups.get(id) : this.#newGroup(id, (spec as Spec).linux.cgroupsPath);
    if (!group) return fail(`container \`${id}\` is not running`);
    const process = this.#newProcess(spec.process.args, this.#filesOf(child, option("console-socket")));
    group.pids.add(process.pid);
    if (!isExec) group.init = process.pid;
    this.#refresh(group);
    tree.write(option("pid-file") ?? "", `${process.pid}\n`);
    if (isExec) {
      setImmediate(() => script(process));
    } else {
      tree.mkdirp(`/run/crun/${id}`);
      tree.mkfifo(`/run/crun/${id}/exec.fifo`, () => setImmediate(() => script(process)));
    }
    return 0;
  }

  #filesOf(child: Child, consoleSocket: string | undefined): (OpenFile | undefined)[] {
    if (consoleSocket !== undefined) {
      const [master, slave] = openPair("terminal");
      this.fake.dial(consoleSocket);
      this.fake.backlogOf(consoleSocket).at(-1)?.passed?.push(master);
      slave.references = 3;
      return [slave, slave, slave];
    }
    for (const file of child.files) if (file) file.references++;
    return child.files;
  }

  #newGroup(id: string, cgroupsPath: string): Group {
    const path = `${CGROUPS}${cgroupsPath}`;
    const { tree } = this.fake;
    tree.mkdirp(path);
    for (const file of ["cgroup.procs", "cgroup.kill", "cgroup.freeze"]) tree.write(`${path}/${file}`, "");
    tree.write(`${path}/cgroup.events`, "populated 1\nfrozen 0\n");
    tree.write(`${path}/memory.events`, "oom 0\noom_kill 0\n");
    tree.write(`${path}/memory.current`, "4096\n");
    const group: Group = { path, pids: new Set(), init: 0, frozen: "0" };
    tree.onWrite(`${path}/cgroup.kill`, () => {
      for (const pid of [...group.pids]) this.#end(pid, 0, SIGKILL);
    });
    tree.onWrite(`${path}/cgroup.freeze`, (text) => {
      group.frozen = text;
      setImmediate(() => this.#refresh(group));
    });
    this.#groups.set(id, group);
    return group;
  }

  #newProcess(args: string[], files: (OpenFile | undefined)[]): FakeProcess {
    const pid = this.fake.newPid();
    const process: FakeProcess = {
      pid,
      args,
      files,
      handlers: new Map(),
      print: (text, fd = 1) => {
        const output = files[fd]?.output;
        const bytes = new TextEncoder().encode(text);
        if (output && output.put(bytes) < bytes.length) throw new Error("the pipe is full");
        this.fake.poke();
      },
      read: () => new TextDecoder().decode(files[0]?.input?.take(65_536)),
      exit: (code) => this.#end(pid, code, 0),
    };
    this.processes.set(pid, process);
    return process;
  }

  #signal(pid: number, signal: number): void {
    const process = this.processes.get(pid);
    if (!process) return;
    const handler = process.handlers.get(signal);
    const isInit = [...this.#groups.values()].some((group) => group.init === pid);
    if (signal === SIGKILL) this.#end(pid, 0, SIGKILL);
    else if (handler) handler();
    else if (!isInit) this.#end(pid, 0, signal);
    // The kernel drops signals that the init of a PID namespace does not handle.
  }

  #end(pid: number, code: number, signal: number): void {
    const process = this.processes.get(pid);
    if (!process) return;
    this.processes.delete(pid);
    for (const file of process.files) if (file) release(file);
    for (const group of this.#groups.values()) {
      if (!group.pids.delete(pid)) continue;
      // When its init exits, the kernel kills all processes of a PID namespace.
      if (group.init === pid) for (const other of [...group.pids]) this.#end(other, 0, SIGKILL);
      this.#refresh(group);
    }
    this.fake.end(pid, code, signal);
    this.fake.poke();
  }

  #refresh(group: Group): void {
    const { tree } = this.fake;
    if (!tree.has(group.path)) return;
    tree.write(`${group.path}/cgroup.procs`, [...group.pids].map((pid) => `${pid}\n`).join(""));
    tree.write(
      `${group.path}/cgroup.events`,
      `populated ${group.pids.size > 0 ? 1 : 0}\nfrozen ${group.frozen}\n`,
    );
    for (const pid of group.pids) {
      const handled = [...(this.processes.get(pid)?.handlers.keys() ?? [])];
      const mask = handled.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n).toString(16);
      tree.mkdirp(`/proc/${pid}`);
      const inner = pid === group.init ? 1 : pid;
      tree.write(
        `/proc/${pid}/status`,
        `NSpid:\t${pid}\t${inner}\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t${mask}\n`,
      );
    }
  }

  /** Updates /proc after a script has set handlers. */
  refresh(): void {
    for (const group of this.#groups.values()) this.#refresh(group);
  }
}
