import { errnoOf } from "../../core/errors.ts";
import { SIGKILL, type Sys } from "./sys.ts";

/** How a child of `runChild` exited, and its output. */
export interface ChildResult {
  readonly code: number;
  readonly signal: number;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Bytes kept of each output; the rest is discarded. */
const OUTPUT_LIMIT = 64 * 1024;

/** Runs a child until it exits and collects its output. After `timeoutMs` milliseconds it is killed. */
export function runChild(sys: Sys, argv: string[], env: string[], timeoutMs: number): ChildResult {
  const outputs = [sys.pipe(), sys.pipe()] as const;
  const texts: [Output, Output] = [new Output(), new Output()];
  let pid: number;
  try {
    pid = sys.spawn({
      argv,
      env,
      cwd: "/",
      fds: [-1, outputs[0][1], outputs[1][1]],
      setsid: true,
      deathSignal: SIGKILL,
    });
  } catch (error) {
    for (const fd of outputs.flat()) sys.close(fd);
    throw error;
  }
  for (const [, writeEnd] of outputs) sys.close(writeEnd);
  const pidfd = sys.pidfdOpen(pid);
  let timedOut = false;
  const timer = sys.setTimer(timeoutMs, () => {
    timedOut = true;
    sys.kill(pid, SIGKILL);
  });
  for (const index of [0, 1] as const) {
    const fd = outputs[index][0];
    sys.watch(fd, { read: true }, () => drain(sys, fd, texts[index]));
  }
  // Waits for the exit, not for the end of the pipes, which a grandchild may keep open.
  sys.watch(pidfd, { read: true }, () => sys.stop());
  sys.run();
  sys.clearTimer(timer);
  for (const index of [0, 1] as const) {
    const fd = outputs[index][0];
    drain(sys, fd, texts[index]);
    sys.unwatch(fd);
    sys.close(fd);
  }
  sys.unwatch(pidfd);
  sys.close(pidfd);
  const exit = sys.waitpid(pid);
  return {
    code: exit?.code ?? -1,
    signal: exit?.signal ?? 0,
    timedOut,
    stdout: texts[0].text(),
    stderr: texts[1].text(),
  };
}

/** Waits until a process exits, child or not. Returns false if it has not after `timeoutMs` milliseconds. */
export function awaitExit(sys: Sys, pid: number, timeoutMs: number): boolean {
  let pidfd: number;
  try {
    pidfd = sys.pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return true;
    throw error;
  }
  let exited = false;
  const timer = sys.setTimer(timeoutMs, () => sys.stop());
  sys.watch(pidfd, { read: true }, () => {
    exited = true;
    sys.stop();
  });
  sys.run();
  sys.clearTimer(timer);
  sys.unwatch(pidfd);
  sys.close(pidfd);
  return exited;
}

/** Reads what is available. Unwatches the descriptor at end of file, when it would stay readable. */
function drain(sys: Sys, fd: number, output: Output): void {
  const buffer = new Uint8Array(16 * 1024);
  for (;;) {
    const length = sys.read(fd, buffer, 0, buffer.length);
    if (length === 0) sys.unwatch(fd);
    if (length <= 0) return;
    output.add(buffer.subarray(0, length));
  }
}

/** The beginning of a child's output. */
class Output {
  readonly #bytes = new Uint8Array(OUTPUT_LIMIT);
  #length = 0;

  add(bytes: Uint8Array): void {
    const kept = bytes.subarray(0, OUTPUT_LIMIT - this.#length);
    this.#bytes.set(kept, this.#length);
    this.#length += kept.length;
  }

  text(): string {
    return new TextDecoder().decode(this.#bytes.subarray(0, this.#length));
  }
}
