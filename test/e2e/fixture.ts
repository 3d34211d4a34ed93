import { after, afterEach, before, beforeEach, describe } from "node:test";
import { Containerd, LINES, type Line } from "../testkit/containerd.ts";
import { BUSYBOX, type Ctr, type CtrOptions, type CtrResult, type RunningCtr } from "../testkit/ctr.ts";
import { assertNoLeaks, type LeakScope, snapshot } from "../testkit/leaks.ts";

/** The runtimes under test; runc verifies that a case expects what containerd users are used to. */
export const RUNTIMES = { hull: "io.containerd.hull.v2", runc: "io.containerd.runc.v2" } as const;
export type RuntimeName = keyof typeof RUNTIMES;

/** Returns the items of a comma-separated environment variable, or all of `known` if it is not set. */
function chosen<T extends string>(variable: string, known: readonly T[]): T[] {
  const value = process.env[variable];
  if (!value) return [...known];
  return value.split(",").map((name) => {
    if (!known.includes(name as T)) throw new Error(`${variable}: ${name} is not one of ${known.join(", ")}`);
    return name as T;
  });
}

/** Returns the containerd release lines to test with. */
export const chosenLines = (): Line[] => chosen("HULL_E2E_LINES", LINES);

/** Returns the newest of them, for suites that hardly depend on containerd. */
export const newestLine = (): Line[] => chosenLines().slice(-1);

/** Returns the runtimes to test with. */
export const chosenRuntimes = (): RuntimeName[] => chosen("HULL_E2E_RUNTIMES", ["hull", "runc"] as const);

/** Runs containers of one runtime in one namespace of one containerd. */
export class Runner {
  #count = 0;

  constructor(
    readonly containerd: Containerd,
    readonly ctr: Ctr,
    readonly runtime: RuntimeName,
  ) {}

  get scope(): LeakScope {
    return { namespace: this.ctr.namespace, directory: this.containerd.directory };
  }

  /** Returns an unused container id. */
  id(): string {
    this.#count += 1;
    return `c${this.#count}`;
  }

  /** Starts `ctr run --rm` in the foreground. `flags` go before the image. */
  start(
    command: readonly string[],
    options: CtrOptions & { id?: string; flags?: readonly string[] } = {},
  ): RunningCtr {
    const { id = this.id(), flags = [], ...rest } = options;
    return this.ctr.start(
      ["run", "--rm", "--runtime", RUNTIMES[this.runtime], ...flags, BUSYBOX, id, ...command],
      rest,
    );
  }

  run(command: readonly string[], options: Parameters<Runner["start"]>[1] = {}): Promise<CtrResult> {
    return this.start(command, options).ended;
  }

  /** Runs a shell command. */
  sh(script: string, options: Parameters<Runner["start"]>[1] = {}): Promise<CtrResult> {
    return this.run(["sh", "-c", script], options);
  }
}

/**
 * Registers `cases` for every containerd release line and runtime in HULL_E2E_LINES and HULL_E2E_RUNTIMES.
 * Each combination has its own namespace, in which nothing may be left after a test.
 */
export function forEveryRunner(
  suite: string,
  cases: (runner: () => Runner, runtime: RuntimeName, line: Line) => void,
  runtimes: readonly RuntimeName[] = ["hull", "runc"],
  lines: readonly Line[] = chosenLines(),
): void {
  for (const line of lines) {
    describe(`containerd ${line}: ${suite}`, () => {
      let containerd: Containerd | undefined;
      before(async () => {
        containerd = await Containerd.up(line);
      });
      after(() => containerd?.down());

      for (const runtime of chosenRuntimes()) {
        if (!runtimes.includes(runtime)) continue;
        describe(runtime, () => {
          let runner: Runner | undefined;
          let clean: Set<string> | undefined;
          const ready = (): Runner => {
            if (!runner) throw new Error("the containerd of this suite did not start");
            return runner;
          };
          before(async () => {
            if (!containerd) throw new Error(`containerd ${line} did not start`);
            const namespace = `e2e-${suite}-${runtime}-${process.pid}`;
            runner = new Runner(containerd, await containerd.namespace(namespace), runtime);
          });
          beforeEach(async () => {
            clean = await snapshot(ready().scope);
          });
          afterEach(async () => {
            if (clean) await assertNoLeaks(clean, ready().scope);
          });
          cases(ready, runtime, line);
        });
      }
    });
  }
}
