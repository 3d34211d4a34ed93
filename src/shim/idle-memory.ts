import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { loadAddon } from "../host/addon.ts";

/** native/memory.c */
export interface MemoryAddon {
  /** Collects all garbage and returns free pages to the kernel: about 20 ms for a shim. */
  giveBack(): void;
  /** An ASCII file's text, which stays in the file: it must never be written to. Undefined when that is not possible. */
  text(path: string): string | undefined;
}

/** A shim with calls or output has a collection of young objects more often than this. */
const IDLE_MS = 5_000;

/** Loads `lib/memory.node`. Throws Unavailable when it cannot be loaded. */
export function loadMemoryAddon(path: string): MemoryAddon {
  return loadAddon<MemoryAddon>("memory", path);
}

/** How many collections V8 keeps the bytecode of a function that nobody calls; all, and its default. */
const KEEP_NO_BYTECODE = "--bytecode-old-age=0";
const KEEP_BYTECODE = "--bytecode-old-age=5";

/**
 * Gives memory back `idleMs` milliseconds after the last work. V8 sizes its heap for the work before, keeps that size
 * in a process that allocates nothing any more, and no function of Node's makes it smaller (docs/performance.md).
 * Functions lose their compiled form, too: each is compiled again when it is called, most never are.
 *
 * That there was work is told by V8's collections of young objects: one for each half MiB or more that was allocated.
 * So a pod that is asked for its state now and then pays for one round in many calls, not for one each time.
 */
export function giveBackWhenIdle(addon: Pick<MemoryAddon, "giveBack">, idleMs = IDLE_MS): { stop(): void } {
  // Baseline code of what is called a few times is 0.3 MiB; what is called often is optimised all the same. Flags on the
  // command line would make Node compile its own modules anew at every start.
  setFlagsFromString("--no-sparkplug");
  setFlagsFromString("--flush-baseline-code");
  const timer = setTimeout(() => {
    setFlagsFromString(KEEP_NO_BYTECODE);
    addon.giveBack();
    setFlagsFromString(KEEP_BYTECODE);
  }, idleMs).unref();
  const observer = new PerformanceObserver((list) => {
    // Full collections do not count: this makes some itself, and V8 makes some in an idle process.
    if (list.getEntries().some(isYoung)) timer.refresh();
  });
  observer.observe({ entryTypes: ["gc"] });
  return {
    stop: () => {
      observer.disconnect();
      clearTimeout(timer);
    },
  };
}

function isYoung(entry: PerformanceEntry): boolean {
  const { detail } = entry as PerformanceEntry & { detail?: { kind?: number } };
  return detail?.kind === constants.NODE_PERFORMANCE_GC_MINOR;
}
