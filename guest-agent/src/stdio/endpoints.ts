import type { Sys } from "../sys.ts";

/** The three streams of a process, by their place in its descriptor table. */
export type StreamName = "stdin" | "stdout" | "stderr";

export const STREAMS: readonly StreamName[] = ["stdin", "stdout", "stderr"];

/** Our ends of a process's streams; whoever holds one closes it. A stream that is not wanted has none. */
export type Endpoints = Partial<Record<StreamName, number>>;

interface Pipes {
  /** What the process gets as its descriptors 0, 1 and 2; -1 = /dev/null. */
  child: [number, number, number];
  ours: Endpoints;
}

/** One pipe for each wanted stream. On failure nothing is left open. */
export function openPipes(sys: Sys, wanted: ReadonlySet<StreamName>): Pipes {
  const pipes: Pipes = { child: [-1, -1, -1], ours: {} };
  try {
    for (const [index, name] of STREAMS.entries()) {
      if (!wanted.has(name)) continue;
      const [read, write] = sys.pipe();
      const [theirs, mine] = name === "stdin" ? [read, write] : [write, read];
      pipes.child[index] = theirs;
      pipes.ours[name] = mine;
      // The program sees an ordinary, blocking descriptor; the pipe's two ends have separate flags.
      sys.setNonblock(theirs, false);
    }
  } catch (error) {
    closeChildEnds(sys, pipes);
    closeEndpoints(sys, pipes.ours);
    throw error;
  }
  return pipes;
}

/** Closes what only the child needs, once it has been started. */
export function closeChildEnds(sys: Pick<Sys, "close">, pipes: Pipes): void {
  for (const fd of pipes.child) if (fd >= 0) sys.close(fd);
  pipes.child = [-1, -1, -1];
}

export function closeEndpoints(sys: Pick<Sys, "close">, endpoints: Endpoints): void {
  for (const name of STREAMS) {
    const fd = endpoints[name];
    if (fd !== undefined) sys.close(fd);
  }
}

/** A terminal's master as the endpoints of stdin and stdout: two descriptors, since each relay owns its own. */
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
