import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { HullError } from "../core/errors.ts";

/** native/memory.c */
export interface MemoryAddon {
  /** Collects all garbage and returns free pages to the kernel: 10 to 20 ms for a shim. */
  giveBack(): void;
}

/** A shim with calls or output has a collection of young objects more often than this. */
const IDLE_MS = 5_000;

/** Loads `lib/memory.node`. Throws Unavailable when it cannot be loaded. */
export function loadMemoryAddon(path: string): MemoryAddon {
  const holder = { exports: {} };
  try {
    process.dlopen(holder, path);
  } catch (error) {
    throw HullError.wrap(`memory addon ${path}`, error, "Unavailable");
  }
  return holder.exports as MemoryAddon;
}

/**
 * Gives memory back `idleMs` milliseconds after the last work. V8 sizes its heap for the work before, keeps that size
 * in a process that allocates nothing any more, and no function of Node's makes it smaller (docs/performance.md).
 *
 * That there was work is told by V8's collections of young objects: one for each half MiB or more that was allocated.
 * So a pod that is asked for its state now and then pays for one round in many calls, not for one each time.
 */
export function giveBackWhenIdle(addon: MemoryAddon, idleMs = IDLE_MS): { stop(): void } {
  const timer = setTimeout(() => addon.giveBack(), idleMs).unref();
  const observer = new PerformanceObserver((list) => {
    // Full collections do not count: this makes some itself, and V8 makes some in an idle process.
    const worked = list.getEntries().some(isYoung);
    if (worked) timer.refresh();
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
