import { errnoOf } from "../../core/errors.ts";
import { SIGKILL, type Sys } from "./sys.ts";

/** How a child that `runChild` started came to its end, and what it printed. */
export interface ChildResult {
  readonly code: number;
  readonly signal: number;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Output beyond this is read and thrown away. */
const OUTPUT_LIMIT = 64 * 1024;

/** Runs a child to its end, at most `limitMs` milliseconds (then it gets SIGKILL), and collects its output. */
export function runChild(sys: Sys, argv: string[], env: string[], limitMs: number): ChildResult {
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
  const timer = sys.setTimer(limitMs, () => {
    timedOut = true;
    sys.kill(pid, SIGKILL);
  });
  for (const index of [0, 1] as const) {
    const fd = outputs[index][0];
    sys.watch(fd, { read: true }, () => drain(sys, fd, texts[index]));
  }
  // A grandchild may keep the pipes open: the child's own end is what counts.
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
  const ended = sys.waitpid(pid);
  return {
    code: ended?.code ?? -1,
    signal: ended?.signal ?? 0,
    timedOut,
    stdout: texts[0].text(),
    stderr: texts[1].text(),
  };
}

/** Waits until a process that is no child has ended, at most `limitMs` milliseconds. False when it still lives. */
export function awaitEnd(sys: Sys, pid: number, limitMs: number): boolean {
  let pidfd: number;
  try {
    pidfd = sys.pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return true;
    throw error;
  }
  let ended = false;
  const timer = sys.setTimer(limitMs, () => sys.stop());
  sys.watch(pidfd, { read: true }, () => {
    ended = true;
    sys.stop();
  });
  sys.run();
  sys.clearTimer(timer);
  sys.unwatch(pidfd);
  sys.close(pidfd);
  return ended;
}

/** Reads what is there. At the end of file the descriptor stays readable, so its watch is taken away. */
function drain(sys: Sys, fd: number, output: Output): void {
  const buffer = new Uint8Array(16 * 1024);
  for (;;) {
    const length = sys.read(fd, buffer, 0, buffer.length);
    if (length === 0) sys.unwatch(fd);
    if (length <= 0) return;
    output.add(buffer.subarray(0, length));
  }
}

/** The beginning of what a child has printed. */
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
