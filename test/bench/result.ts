import { readFile, writeFile } from "node:fs/promises";
import { type Machine, machineLine } from "./machine.ts";
import type { Options } from "./options.ts";
import type { Omission, Row } from "./report.ts";
import { fillMarkdown, markdownTable, omissionLines, textTable } from "./table.ts";

/** What a run of hack/bench has measured: the content of `--json`. */
export interface Result {
  readonly machine: Machine;
  readonly containerd: string;
  readonly quick: boolean;
  readonly load: { readonly before: number; readonly after: number };
  readonly rows: readonly Row[];
  readonly omissions: readonly Omission[];
}

/** Prints a result and writes the files that the options ask for. `facts` are printed below those of every result. */
export async function publish(
  options: Options,
  result: Result,
  marker: string,
  facts: readonly string[],
): Promise<void> {
  const { rows, load } = result;
  const all = [
    `machine: ${machineLine(result.machine)}; containerd ${result.containerd}`,
    `load average: ${load.before} at the start, ${load.after} at the end${result.quick ? "; --quick: figures of a trial run" : ""}`,
    ...omissionLines(result.omissions),
    ...facts,
  ];
  console.log([textTable(rows), "", ...all].join("\n"));
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
  if (options.markdown !== undefined) {
    const page = await readFile(options.markdown, "utf8");
    const content = [...all.map((fact) => `- ${fact}`), "", markdownTable(rows)].join("\n");
    await writeFile(options.markdown, fillMarkdown(page, marker, content));
  }
}
