/** Bytes in flight in one direction, with a limit like a pipe's. Its ends are counted by open files. */
export class FakePipe {
  #bytes: number[] = [];
  readers = 0;
  writers = 0;

  constructor(readonly capacity = 65_536) {}

  get length(): number {
    return this.#bytes.length;
  }

  /** Bytes taken; 0 when it is full. */
  put(bytes: Uint8Array): number {
    const free = Math.min(bytes.length, this.capacity - this.#bytes.length);
    for (let index = 0; index < free; index++) this.#bytes.push(bytes[index] as number);
    return free;
  }

  take(limit: number): Uint8Array {
    return Uint8Array.from(this.#bytes.splice(0, limit));
  }
}

/** An open file description: descriptors that are duplicates share one. */
export interface OpenFile {
  kind: "pipe" | "socket" | "listener" | "inotify" | "file" | "terminal";
  references: number;
  input?: FakePipe;
  output?: FakePipe;
  /** A connection's peer in vsock. */
  peerCid?: number;
  /** A listener's connections that wait. */
  backlog?: OpenFile[];
  /** Open files sent to this socket (SCM_RIGHTS). */
  passed?: OpenFile[];
  /** An inotify descriptor's file. */
  path?: string;
  events?: number;
  /** Gets what is written to a regular file. */
  onWrite?: (bytes: Uint8Array) => void;
  content?: Uint8Array;
}

export function openPipe(pipe: FakePipe, side: "read" | "write"): OpenFile {
  if (side === "read") pipe.readers++;
  else pipe.writers++;
  return { kind: "pipe", references: 1, ...(side === "read" ? { input: pipe } : { output: pipe }) };
}

/** Two connected ends of a socket or a terminal. */
export function openPair(kind: "socket" | "terminal"): [OpenFile, OpenFile] {
  const forth = new FakePipe();
  const back = new FakePipe();
  for (const pipe of [forth, back]) pipe.readers = pipe.writers = 1;
  return [
    { kind, references: 1, input: back, output: forth, passed: [] },
    { kind, references: 1, input: forth, output: back, passed: [] },
  ];
}

/** Drops one reference; the last one ends the pipes. */
export function release(file: OpenFile): void {
  file.references--;
  if (file.references > 0) return;
  if (file.input) file.input.readers--;
  if (file.output) file.output.writers--;
  for (const waiting of file.backlog ?? []) release(waiting);
  for (const passed of file.passed ?? []) release(passed);
}

export function readable(file: OpenFile): boolean {
  if (file.kind === "listener") return (file.backlog?.length ?? 0) > 0;
  if (file.kind === "inotify") return (file.events ?? 0) > 0;
  if ((file.passed?.length ?? 0) > 0) return true;
  return file.input !== undefined && (file.input.length > 0 || file.input.writers === 0);
}

export function writable(file: OpenFile): boolean {
  return (
    file.output !== undefined && (file.output.readers === 0 || file.output.length < file.output.capacity)
  );
}
