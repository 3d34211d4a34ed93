import type { Measure } from "./context.ts";
import { burst } from "./measures/burst.ts";
import { calls } from "./measures/calls.ts";
import { files } from "./measures/files.ts";
import { memory } from "./measures/memory.ts";
import { pods } from "./measures/pods.ts";
import { start } from "./measures/start.ts";
import { stdio } from "./measures/stdio.ts";
import { tasks } from "./measures/tasks.ts";

/** All measures, in the order in which they run. */
export const MEASURES: readonly Measure[] = [start, tasks, calls, stdio, files, memory, burst, pods];
