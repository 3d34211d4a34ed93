import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe } from "node:test";
import { Containerd, type Line } from "../testkit/containerd.ts";
import { Cri, type CriPod, type PodSettings } from "../testkit/cri.ts";
import { assertNoLeaks, type LeakScope, snapshot } from "../testkit/leaks.ts";
import { chosenLines, chosenRuntimes } from "./fixture.ts";

/**
 * CRI's runtime handlers in hack/containerd's configuration; `hull-sandbox` exists with containerd 2 only.
 */
type Handler = "hull" | "hull-sandbox" | "runc";

/** The target of a suite's cases: a handler of a containerd. */
class CriTarget {
  constructor(
    readonly containerd: Containerd,
    readonly cri: Cri,
    readonly handler: Handler,
    /** A directory on the host for volumes; empty at the start of the suite, removed at its end. */
    readonly directory: string,
  ) {}

  get hull(): boolean {
    return this.handler !== "runc";
  }

  get scope(): LeakScope {
    return { namespace: "k8s.io", directory: this.containerd.directory };
  }

  runPod(settings: PodSettings = {}): Promise<CriPod> {
    return this.cri.runPod(this.handler, settings);
  }
}

/**
 * Registers `cases` for every containerd release line and handler in HULL_E2E_LINES and HULL_E2E_RUNTIMES.
 * Remaining pods of a suite are removed at its end; then nothing of them may be left on the machine, so two
 * such suites must not run at the same time. `lines`: the default lines, to save time. `within`: the
 * environment of containerd (`Containerd.up`).
 */
export function forEveryHandler(
  suite: string,
  cases: (target: () => CriTarget, handler: Handler) => void,
  lines: readonly Line[] = chosenLines(),
  within: readonly string[] = [],
): void {
  for (const line of process.env.HULL_E2E_LINES ? chosenLines() : lines) {
    describe(`containerd ${line}: ${suite}`, () => {
      let containerd: Containerd | undefined;
      before(async () => {
        containerd = await Containerd.up(line, within);
      });
      after(() => containerd?.down());
      for (const handler of handlers(line)) {
        describe(handler, () => {
          let target: CriTarget | undefined;
          let clean: Set<string> | undefined;
          const ready = (): CriTarget => {
            if (!target) throw new Error("the containerd of this suite did not start");
            return target;
          };
          before(async () => {
            if (!containerd) throw new Error(`containerd ${line} did not start`);
            const directory = await mkdtemp(join(tmpdir(), "hull-cri-"));
            target = new CriTarget(containerd, new Cri(containerd.address), handler, directory);
            clean = await snapshot(target.scope);
          });
          after(() => target?.cri.removePods());
          cases(ready, handler);
          after(async () => {
            target?.cri.close();
            if (target && clean) await assertNoLeaks(clean, target.scope);
          });
          after(() => target && rm(target.directory, { recursive: true, force: true }));
        });
      }
    });
  }
}

function handlers(line: Line): Handler[] {
  return chosenRuntimes().flatMap((runtime): Handler[] =>
    runtime === "hull" && line === "2" ? ["hull", "hull-sandbox"] : [runtime],
  );
}

/** One pod for all cases of the calling describe, since most cases do not need their own. */
export function sharedPod(target: () => CriTarget, settings: PodSettings = {}): () => CriPod {
  let pod: CriPod | undefined;
  before(async () => {
    pod = await target().runPod(settings);
  });
  afterEach(async () => {
    if (pod) await Promise.all((await pod.containers()).map((container) => container.remove()));
  });
  return () => {
    if (!pod) throw new Error("the pod of this suite did not start");
    return pod;
  };
}
