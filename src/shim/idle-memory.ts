import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { loadAddon } from "../host/addon.ts";

/** The functions of native/memory.c. */
export interface MemoryAddon {
  /** Collects all garbage and returns free pages to the kernel. Takes about 20 ms in a shim. */
  releaseFreePages(): void;
  /** Returns an ASCII file's text, mapped: the file must never change. Undefined if it cannot be mapped. */
  text(path: string): string | undefined;
}

/** A shim with calls or output collects young objects more often than this. */
const IDLE_MS = 5_000;

/** Loads `lib/memory.node`. Throws Unavailable when it cannot be loaded. */
export function loadMemoryAddon(path: string): MemoryAddon {
  return loadAddon<MemoryAddon>("memory", path);
}

/** For how many collections V8 keeps the bytecode of a function that is not called; 5 is its default. */
const KEEP_NO_BYTECODE = "--bytecode-old-age=0";
const KEEP_BYTECODE = "--bytecode-old-age=5";

/**
 * Returns memory to the kernel `idleMs` milliseconds after the last work: V8 does not shrink the heap of a process
 * that no longer allocates, and Node has no function for it (docs/performance.md). Functions lose their bytecode,
 * too, and are compiled again if they are called.
 *
 * V8 collects young objects once per half MiB or more of allocations, which is how work is noticed. So occasional
 * calls, such as State, cost one round for many of them, not one each.
 */
export function returnMemoryWhenIdle(
  addon: Pick<MemoryAddon, "releaseFreePages">,
  idleMs = IDLE_MS,
): { stop(): void } {
  // Baseline code takes 0.3 MiB; hot functions are optimised without it. Set here, since with V8 flags on the command
  // line Node compiles its own modules at every start.
  setFlagsFromString("--no-sparkplug");
  setFlagsFromString("--flush-baseline-code");
  const timer = setTimeout(() => {
    setFlagsFromString(KEEP_NO_BYTECODE);
    addon.releaseFreePages();
    setFlagsFromString(KEEP_BYTECODE);
  }, idleMs).unref();
  const observer = new PerformanceObserver((list) => {
    // Full collections do not count: the addon causes some, and V8 does some in an idle process.
    if (list.getEntries().some(isMinorCollection)) timer.refresh();
  });
  observer.observe({ entryTypes: ["gc"] });
  return {
    stop: () => {
      observer.disconnect();
      clearTimeout(timer);
    },
  };
}

function isMinorCollection(entry: PerformanceEntry): boolean {
  const { detail } = entry as PerformanceEntry & { detail?: { kind?: number } };
  return detail?.kind === constants.NODE_PERFORMANCE_GC_MINOR;
}
