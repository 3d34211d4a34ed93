import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { allTargets } from "../targets/all.ts";
import { Coverage } from "./coverage.ts";
import { catching, Finding, fuzz, type Limits, type Outcome, tryOne } from "./fuzz.ts";
import { pump } from "./pump.ts";
import { randomOf } from "./random.ts";

/** The interface of a bundle of this file; `bundle.ts` builds it. */
export interface Session {
  /** Resolves with the names of all targets. */
  names(): Promise<string[]>;
  /**
   * Fuzzes a target: `pumps` inputs for growth of time, then `limits`. Rejects with a Finding, whose input is
   * written to `file`.
   */
  run(name: string, limits: Limits, pumps: number, seed: number, file: string): Promise<Outcome>;
  /** Runs one input. */
  replay(name: string, input: Buffer): Promise<boolean>;
}

/** Returns a session for code with this number of places. */
export function sessionOf(places: number): Session {
  const coverage = new Coverage(places);
  const targets = allTargets();
  const find = async (name: string) => {
    const found = (await targets).find((target) => target.name === name);
    if (!found) throw new Error(`there is no target ${name}`);
    return found;
  };
  return {
    names: async () => (await targets).map(({ name }) => name),
    async run(name, limits, pumps, seed, file) {
      const target = await find(name);
      try {
        await catching(name, pump(target, pumps, limits.seconds, randomOf(seed)));
        return await catching(name, fuzz(target, coverage, limits, seed));
      } catch (thrown) {
        if (!(thrown instanceof Finding)) throw thrown;
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, thrown.input);
        thrown.message += ` (the input is in ${file}, the seed was ${seed})`;
        throw thrown;
      } finally {
        await target.close?.();
      }
    },
    replay: async (name, input) => await tryOne(await find(name), input),
  };
}
