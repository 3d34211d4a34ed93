/**
 * Loaded into hull's daemon before its own code (`node --require`) by the wrapper that replaces `lib/node`.
 * Active in pods that have a file of faults; its own exit is a failpoint, too: `run:<action>`.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { Control } from "./control.ts";
import { installSeams } from "./seams.ts";

const [, , action = "", ...flags] = process.argv;
const flag = (name: string) => flags[flags.indexOf(name) + 1];
const file = join(dirname(dirname(__filename)), "faults", `${flag("-namespace")}.${flag("-id")}`);
if (existsSync(file)) {
  const control = new Control(file);
  if (action === "daemon") installSeams(control);
  control.hit(`run:${action}`);
}
