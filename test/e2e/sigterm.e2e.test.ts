/**
 * The effect of SIGTERM in the four modes of `runtime.sigterm_escalation` on every kind of PID 1, and of
 * SIGKILL under difficult conditions.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { promisify } from "node:util";
import type { Spec } from "../testkit/containerd-client.ts";
import type { Task } from "../testkit/task.ts";
import { newestLine } from "./fixture.ts";
import { answer, hullBehind } from "./parity/subject.ts";

const SIGKILL = 9;
const SIGTERM = 15;
const BLOCKER = "/block-sigterm";
const LOOP = "while :; do sleep 0.1; done";
/** Longer than the handler takes, even if its 2 s are on an emulated CPU. */
const AFTER_MS = 5_000;

/** Programs for a PID 1; each prints `ready`. */
const TARGETS = {
  "a shell": ["sh", "-c", `echo ready; ${LOOP}`],
  "a handler that takes 2 s": ["sh", "-c", `trap 'sleep 2; exit 7' TERM; echo ready; ${LOOP}`],
  "who blocks it": [BLOCKER],
  "who ignores it": ["sh", "-c", `trap '' TERM; echo ready; ${LOOP}`],
  "a parent of zombies": [
    "sh",
    "-c",
    "for i in 1 2 3; do sleep 0 & done; sleep 0.3; echo ready; exec sleep 1000",
  ],
} as const;
type Target = keyof typeof TARGETS;

/** The exit status of each; null: it survives. */
type Ends = Readonly<Record<Target, number | null>>;

const SPARED: Ends = {
  "a shell": null,
  "a handler that takes 2 s": 7,
  "who blocks it": null,
  "who ignores it": null,
  "a parent of zombies": null,
};
const KILLED: Ends = {
  "a shell": 137,
  "a handler that takes 2 s": 137,
  "who blocks it": 137,
  "who ignores it": 137,
  "a parent of zombies": 137,
};

const MODES: readonly { escalation: unknown; name: string; ends: Ends; earliestMs?: number }[] = [
  { name: "never", escalation: "never", ends: SPARED },
  {
    name: "unhandled",
    escalation: "unhandled",
    ends: { ...SPARED, "a shell": 137, "a parent of zombies": 137 },
  },
  {
    name: `after ${AFTER_MS} ms`,
    escalation: { after: `${AFTER_MS}ms` },
    ends: { ...KILLED, "a handler that takes 2 s": 7 },
    earliestMs: AFTER_MS,
  },
  { name: "immediate", escalation: "immediate", ends: KILLED },
];

const [line = "2"] = newestLine();

describe(`containerd ${line}: sigterm`, () => {
  const subject = hullBehind(line);
  let blocker = "";
  before(async () => {
    blocker = join(subject().containerd.directory, "block-sigterm");
    const source = join(import.meta.dirname, "../testkit/block-sigterm.c");
    await promisify(execFile)("cc", ["-Os", "-static", "-Wall", "-Werror", "-o", blocker, source]);
  });

  /** Starts all targets as containers of one pod, whose configuration has `escalation`. */
  async function pod(id: string, escalation: unknown): Promise<{ pause: Task; targets: Map<Target, Task> }> {
    const member = (type: string) => (spec: Spec) => {
      spec.annotations = {
        "io.kubernetes.cri.container-type": type,
        "io.kubernetes.cri.sandbox-id": id,
      };
      spec.mounts.push({ destination: BLOCKER, type: "bind", source: blocker, options: ["bind", "ro"] });
    };
    const config = { sigterm_escalation: escalation };
    const pause = await subject().create(["pause"], { id, config, edit: member("sandbox") });
    await pause.start();
    const targets = new Map<Target, Task>();
    await Promise.all(
      Object.entries(TARGETS).map(async ([name, args]) => {
        const task = await subject().create(args, { edit: member("container") });
        targets.set(name as Target, task);
        await task.start();
        await task.stdout?.printed("ready");
      }),
    );
    return { pause, targets };
  }

  for (const { name, escalation, ends, earliestMs = 0 } of MODES) {
    it(`${name}: each PID 1 exits as expected, or survives`, async () => {
      const { pause, targets } = await pod(`pod-${name.replaceAll(" ", "-")}`, escalation);
      try {
        await Promise.all(
          [...targets].map(async ([target, task]) => {
            const begin = performance.now();
            await task.kill(SIGTERM);
            const status = ends[target];
            if (status === null) return;
            assert.equal(await task.exited(), status, target);
            const earliest = status === 137 ? earliestMs : 2_000;
            assert.ok(performance.now() - begin >= earliest, `${target} exited too early`);
          }),
        );
        for (const [target, task] of targets) {
          if (ends[target] !== null) continue;
          assert.equal(await task.state(), "RUNNING", target);
          await task.kill(SIGKILL);
          assert.equal(await task.exited(), 137, target);
        }
      } finally {
        await Promise.all([...targets.values()].map((task) => task.remove()));
        await pause.remove();
      }
    });
  }

  it("an allowed annotation sets the mode of its pod", async () => {
    const config = { sigterm_escalation: "never", enable_annotations: ["runtime.sigterm_escalation"] };
    const edit = (spec: Spec) => {
      spec.annotations = { "io.hull.config.runtime.sigterm_escalation": "immediate" };
    };
    const task = await subject().create(TARGETS["who ignores it"], { id: "annotated", config, edit });
    try {
      await task.start();
      await task.stdout?.printed("ready");
      await task.kill(SIGTERM);
      assert.equal(await task.exited(), 137);
    } finally {
      await task.remove();
    }
  });

  it("a kill is answered while creates, execs and statistics of the same pod are pending", async () => {
    const task = await subject().create(["sleep", "1000"]);
    try {
      await task.start();
      const { containerId } = task;
      const { client } = subject();
      const busy = [
        ...Array.from({ length: 8 }, () => answer(task.sh("sleep 100"))),
        ...Array.from({ length: 8 }, () => answer(client.tasks.metrics({ filters: [`id==${containerId}`] }))),
      ];
      await task.kill(SIGKILL, false, 30_000);
      assert.equal(await task.exited(), 137);
      await Promise.all(busy);
    } finally {
      await task.remove();
    }
  });

  it("SIGKILL kills a paused container", async () => {
    const task = await subject().create(["sh", "-c", `echo ready; ${LOOP}`]);
    try {
      await task.start();
      await task.stdout?.printed("ready");
      await subject().client.tasks.pause({ containerId: task.containerId });
      await task.kill(SIGKILL, false, 30_000);
      assert.equal(await task.exited(), 137);
    } finally {
      await task.remove();
    }
  });
});
