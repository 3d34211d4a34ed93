import type { Sys } from "../sys.ts";

/** The three streams of a process. */
export type StreamName = "stdin" | "stdout" | "stderr";

/** The streams by descriptor number. */
export const STREAMS: readonly StreamName[] = ["stdin", "stdout", "stderr"];

/** The agent's ends of a process's streams, which the holder closes. A stream that is not wanted has none. */
export type Endpoints = Partial<Record<StreamName, number>>;

interface Pipes {
  /** Descriptors 0, 1 and 2 of the process; -1: /dev/null. */
  child: [number, number, number];
  own: Endpoints;
}

/** Opens a pipe for each wanted stream. On failure nothing is left open. */
export function openPipes(sys: Sys, wanted: ReadonlySet<StreamName>): Pipes {
  const pipes: Pipes = { child: [-1, -1, -1], own: {} };
  try {
    for (const [index, name] of STREAMS.entries()) {
      if (!wanted.has(name)) continue;
      const [read, write] = sys.pipe();
      const [theirs, mine] = name === "stdin" ? [read, write] : [write, read];
      pipes.child[index] = theirs;
      pipes.own[name] = mine;
      // The program gets an ordinary, blocking descriptor; the two ends of a pipe have separate flags.
      sys.setNonblock(theirs, false);
    }
  } catch (error) {
    closeChildEnds(sys, pipes);
    closeEndpoints(sys, pipes.own);
    throw error;
  }
  return pipes;
}

/** Closes the child's ends, once it has been started. */
export function closeChildEnds(sys: Pick<Sys, "close">, pipes: Pipes): void {
  for (const fd of pipes.child) if (fd >= 0) sys.close(fd);
  pipes.child = [-1, -1, -1];
}

/** Closes the agent's ends. */
export function closeEndpoints(sys: Pick<Sys, "close">, endpoints: Endpoints): void {
  for (const name of STREAMS) {
    const fd = endpoints[name];
    if (fd !== undefined) sys.close(fd);
  }
}

/**
 * Duplicates a terminal's master as the endpoints of stdin and stdout, since each relay owns its descriptor.
 */
export function terminalEndpoints(sys: Sys, master: number, wanted: ReadonlySet<StreamName>): Endpoints {
  const endpoints: Endpoints = {};
  try {
    if (wanted.has("stdin")) endpoints.stdin = sys.dup(master);
    endpoints.stdout = sys.dup(master);
  } catch (error) {
    closeEndpoints(sys, endpoints);
    throw error;
  }
  return endpoints;
}
