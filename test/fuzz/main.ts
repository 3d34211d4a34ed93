import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadSession } from "./engine/load.ts";

/** The command line of hack/fuzz; see there. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    inputs: { type: "string", default: "100000" },
    seconds: { type: "string", default: "86400" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    replay: { type: "string" },
  },
});
const PUMPS = 200;
const dist = join(dirname(fileURLToPath(import.meta.url)), "../../dist/fuzz");

/** Resolves with the number of targets with a finding. */
async function main(): Promise<number> {
  const session = await loadSession();
  const names = positionals.length > 0 ? positionals : await session.names();
  const seed = Number(values.seed);
  let findings = 0;
  for (const name of names) {
    try {
      if (values.replay !== undefined) {
        const accepted = await session.replay(name, await readFile(values.replay));
        console.log(`${name}: ${accepted ? "accepted" : "refused"}`);
        continue;
      }
      const limits = { inputs: Number(values.inputs), seconds: Number(values.seconds), least: 0 };
      const { inputs, accepted, kept, places, seconds } = await session.run(
        ...([name, limits, PUMPS, seed, join(dist, `${name}.input`)] as const),
      );
      const summary = `${inputs} inputs, ${accepted} accepted, ${kept} kept, ${places} places, ${seconds.toFixed(0)} s`;
      console.log(`${name.padEnd(24)} ${summary}`);
    } catch (thrown) {
      findings++;
      console.error(thrown instanceof Error ? (thrown.stack ?? "").slice(0, 4_000) : thrown);
    }
  }
  return findings;
}

void main().then((findings) => {
  process.exitCode = findings > 0 ? 1 : 0;
});
