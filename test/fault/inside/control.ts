import { appendFileSync, readFileSync } from "node:fs";
import { Failpoint, formatAction, parseTerms } from "../failpoint.ts";

/** The faults of a pod's programs, in a file per pod. */
export interface Faults {
  /** Terms by name of the place. */
  readonly points: Readonly<Record<string, string>>;
  /** PIDs that only the test knows. */
  readonly pids: Readonly<Record<string, number>>;
}

/** An action of a failpoint: a line of the file `<faults>.fired`. */
export interface Fired {
  /** Unix time in ms. */
  readonly at: number;
  readonly point: string;
  readonly action: string;
  /** The processes that got a signal. */
  readonly pids: readonly number[];
}

const SIGNALS = { kill: "SIGKILL", stop: "SIGSTOP" } as const;

/** Executes a pod's failpoints inside one of its programs. */
export class Control {
  readonly #failpoints: Map<string, Failpoint>;
  readonly #pids: Faults["pids"];
  readonly #log: string;
  /** The pod's processes by role. */
  readonly started = new Map<string, number>();

  constructor(file: string) {
    const { points, pids } = JSON.parse(readFileSync(file, "utf8")) as Faults;
    this.#failpoints = new Map(
      Object.entries(points).map(([name, terms]) => [name, new Failpoint(parseTerms(terms))]),
    );
    this.#pids = pids;
    this.#log = `${file}.fired`;
  }

  /** Called when a place is reached. Throws if it is to fail. */
  hit(point: string): void {
    const action = this.#failpoints.get(point)?.next();
    if (!action || action.type === "off") return;
    const pids = action.type === "kill" || action.type === "stop" ? this.#pidsOf(action.who) : [];
    const fired: Fired = { at: Date.now(), point, action: formatAction(action), pids };
    // Write it first: the action may kill this process.
    appendFileSync(this.#log, `${JSON.stringify(fired)}\n`);
    switch (action.type) {
      case "error":
        throw Object.assign(new Error(action.text), { code: /^E[A-Z]+/.exec(action.text)?.[0] });
      case "panic":
        process.stderr.write(`failpoint: ${action.text}\n`);
        process.exit(1);
        break;
      case "delay":
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms);
        break;
      default:
        for (const pid of pids) send(pid, SIGNALS[action.type]);
    }
  }

  #pidsOf(who: string): number[] {
    const known: Record<string, number | undefined> = {
      ...{ shim: process.pid, launcher: launcherPid() },
      ...this.#pids,
      ...Object.fromEntries(this.started),
    };
    if (who === "virtiofsd-worker") return childrenOf(known.virtiofsd);
    const pid = known[who];
    return pid === undefined ? [] : [pid];
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // The process has exited by itself; the case shows the effect.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The PID of the launcher that has started this program, while it runs. */
function launcherPid(): number | undefined {
  const argv = readFileSync(`/proc/${process.ppid}/cmdline`, "latin1");
  return argv.includes("containerd-shim-hull-v2") ? process.ppid : undefined;
}

function childrenOf(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return children.split(" ").filter(Boolean).map(Number);
}
