/** Bytes in flight in one direction, with a pipe's capacity. Open files count its ends. */
export class FakePipe {
  #bytes: number[] = [];
  readers = 0;
  writers = 0;

  constructor(readonly capacity = 65_536) {}

  get length(): number {
    return this.#bytes.length;
  }

  /** Adds bytes. Returns how many fit; 0 if it is full. */
  put(bytes: Uint8Array): number {
    const free = Math.min(bytes.length, this.capacity - this.#bytes.length);
    for (let index = 0; index < free; index++) this.#bytes.push(bytes[index] as number);
    return free;
  }

  take(limit: number): Uint8Array {
    return Uint8Array.from(this.#bytes.splice(0, limit));
  }
}

/** An open file description: duplicated descriptors share one. */
export interface OpenFile {
  kind: "pipe" | "socket" | "listener" | "inotify" | "file" | "terminal";
  references: number;
  input?: FakePipe;
  output?: FakePipe;
  /** The context id of a vsock connection's peer. */
  peerCid?: number;
  /** A listener's pending connections. */
  backlog?: OpenFile[];
  /** Open files sent to this socket (SCM_RIGHTS). */
  passed?: OpenFile[];
  /** The file that an inotify descriptor watches. */
  path?: string;
  events?: number;
  /** Called with what is written to a regular file. */
  onWrite?: (bytes: Uint8Array) => void;
  content?: Uint8Array;
}

export function openPipe(pipe: FakePipe, side: "read" | "write"): OpenFile {
  if (side === "read") pipe.readers++;
  else pipe.writers++;
  return { kind: "pipe", references: 1, ...(side === "read" ? { input: pipe } : { output: pipe }) };
}

/** Returns two connected ends of a socket or a terminal. */
export function openPair(kind: "socket" | "terminal"): [OpenFile, OpenFile] {
  const forth = new FakePipe();
  const back = new FakePipe();
  for (const pipe of [forth, back]) pipe.readers = pipe.writers = 1;
  return [
    { kind, references: 1, input: back, output: forth, passed: [] },
    { kind, references: 1, input: forth, output: back, passed: [] },
  ];
}

/** Drops a reference; without references the pipes are closed. */
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
