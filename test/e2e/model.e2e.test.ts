/** Random calls against real VMs: answers and states agree with the model of the pod's unit test. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { ContainerdClient } from "../testkit/containerd-client.ts";
import {
  expected,
  type ModelContainer,
  modelStates,
  type Op,
  opArbitrary,
} from "../testkit/process-model.ts";
import type { Task, TaskExec } from "../testkit/task.ts";
import { newestLine } from "./fixture.ts";
import { answer, hullBehind, type Subject } from "./parity/subject.ts";

/** HULL_MODEL_STEPS: the total number of calls. */
const STEPS = Number(process.env.HULL_MODEL_STEPS ?? 200);
const STEPS_A_RUN = 50;

const SIGKILL = 9;
/** Exits with status 0 when it reads a line. */
const UNTIL_A_LINE = ["sh", "-c", "read line"];

/** The real objects behind the model's names. */
class World {
  readonly tasks = new Map<string, { task: Task; execs: Map<string, TaskExec> }>();

  constructor(readonly subject: Subject) {}

  get client(): ContainerdClient {
    return this.subject.client;
  }

  /** Performs a call. Resolves with its gRPC status by name, "OK" if it succeeded. */
  async perform(op: Op): Promise<string> {
    const known = this.tasks.get(op.c);
    if (op.op === "create") {
      return await answer(
        this.subject.create(UNTIL_A_LINE, { id: op.c, stdin: true }).then((task) => {
          this.tasks.set(op.c, { task, execs: new Map() });
        }),
      );
    }
    if (!known) return await answer(this.client.tasks.get({ containerId: op.c }));
    const { task, execs } = known;
    const { containerId } = task;
    const exec = "e" in op ? execs.get(op.e) : undefined;
    const process = "e" in op && op.e !== "" ? exec : task;
    switch (op.op) {
      case "delete":
        return await answer(
          this.client.tasks.delete({ containerId }).then(async () => {
            this.tasks.delete(op.c);
            await task.remove();
          }),
        );
      case "pause":
        return await answer(this.client.tasks.pause({ containerId }));
      case "resume":
        return await answer(this.client.tasks.resume({ containerId }));
      case "end":
        return await this.#end(task);
      case "start":
        return await answer(this.client.tasks.start({ containerId, execId: op.e }));
      case "kill":
        return await answer(
          this.client.tasks
            .kill({ containerId, execId: op.e, signal: SIGKILL })
            .then(() => process?.exited()),
        );
      case "exec":
        if (op.e === "") return "OK";
        return await answer(
          task.exec(UNTIL_A_LINE, { id: op.e, stdin: true }).then((added) => {
            execs.set(op.e, added);
          }),
        );
      case "end-exec":
        if (op.e === "" || !exec) return "NOT_FOUND";
        return await this.#end(exec);
      case "delete-exec":
        if (op.e === "") return "NOT_FOUND";
        return await answer(
          this.client.tasks.deleteProcess({ containerId, execId: op.e }).then(() => {
            exec?.closeStreams();
            execs.delete(op.e);
          }),
        );
    }
  }

  /** Makes the program exit; kills a paused one, which cannot. */
  async #end(process: Task | TaskExec): Promise<string> {
    const state = await process.state();
    if (state === "PAUSED") await process.kill(SIGKILL);
    else if (state === "RUNNING") process.write("end\n");
    else return "NOT_FOUND";
    await process.exited();
    return "OK";
  }

  async states(): Promise<Record<string, string>> {
    const states: Record<string, string> = {};
    for (const [id, { task, execs }] of this.tasks) {
      states[`${id}/`] = (await task.state()).toLowerCase();
      for (const [execId, exec] of execs) states[`${id}/${execId}`] = (await exec.state()).toLowerCase();
    }
    return states;
  }

  async clear(): Promise<void> {
    for (const { task } of this.tasks.values()) await task.remove();
    this.tasks.clear();
  }
}

const camel = (status: string) =>
  status === "OK"
    ? status
    : status.toLowerCase().replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());

const [line = "2"] = newestLine();

describe(`containerd ${line}: model`, () => {
  const subject = hullBehind(line);

  it(`${STEPS} random calls: answers and states agree with the model`, async () => {
    const world = new World(subject());
    const sequence = fc.array(opArbitrary, { minLength: STEPS_A_RUN, maxLength: STEPS_A_RUN });
    await fc.assert(
      fc.asyncProperty(sequence, async (ops) => {
        const model = new Map<string, ModelContainer>();
        try {
          for (const op of ops) {
            const want = expected(model, op);
            assert.equal(camel(await world.perform(op)), want, JSON.stringify(op));
            assert.deepEqual(await world.states(), modelStates(model), JSON.stringify(op));
          }
        } finally {
          await world.clear();
        }
      }),
      // A run takes seconds: do not shrink a failing one; its seed repeats it.
      { numRuns: Math.ceil(STEPS / STEPS_A_RUN), endOnFailure: true },
    );
  });
});
