import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";

/** The busybox image that hack/containerd imports. */
export const BUSYBOX = "hull.test/busybox:latest";

/** The result of `ctr`. `ctr run` in the foreground exits with the task's exit status. */
export interface CtrResult {
  /** null if ctr itself was killed; then `signal` is set. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: number;
  /** Hex sha256 of all of stdout. */
  readonly stdoutSha256: string;
}

export interface CtrOptions {
  /** Written to stdin, which is then closed; without it stdin is closed at once. */
  readonly stdin?: Buffer | undefined;
  /** Keeps stdin open until `closeStdin`, which then passes the input. */
  readonly holdStdin?: boolean | undefined;
  /** ctr gets SIGKILL after this time. Default 90 s. */
  readonly timeoutMs?: number | undefined;
}

/** Bytes of each stream that a result keeps as text; counts and checksums cover the whole stream. */
const KEPT = 1 << 20;

/** A started `ctr`. */
export class RunningCtr {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #hash = createHash("sha256");
  #bytes = 0;
  #stdout = "";
  #stderr = "";
  readonly #waiting = new Set<() => void>();
  readonly #onTerminal: boolean;
  /** Resolves when ctr has exited and both streams have been read to their end. */
  readonly ended: Promise<CtrResult>;

  constructor(
    command: string,
    args: readonly string[],
    {
      stdin,
      holdStdin = false,
      timeoutMs = 90_000,
      onTerminal = false,
    }: CtrOptions & { onTerminal?: boolean },
  ) {
    this.#onTerminal = onTerminal;
    this.#child = spawn(command, args, { stdio: "pipe", timeout: timeoutMs, killSignal: "SIGKILL" });
    this.#child.stdout.on("data", (chunk: Buffer) => {
      this.#hash.update(chunk);
      this.#bytes += chunk.length;
      if (this.#stdout.length < KEPT) this.#stdout += chunk.toString("utf8");
      for (const check of this.#waiting) check();
    });
    this.#child.stderr.on("data", (chunk: Buffer) => {
      if (this.#stderr.length < KEPT) this.#stderr += chunk.toString("utf8");
    });
    // A task may exit without reading its input: then EPIPE is expected.
    this.#child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") this.#stderr += `\nstdin: ${error.message}`;
    });
    if (!holdStdin) this.closeStdin(stdin);
    this.ended = this.#end();
  }

  /** Writes to stdin, which must have been held. */
  write(input: string): void {
    this.#child.stdin.write(input);
  }

  /** Writes the last input and closes stdin. */
  closeStdin(last?: Buffer): void {
    this.#child.stdin.end(last);
  }

  /** Kills ctr with SIGKILL: containerd only notices that its client has disconnected. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Sends Ctrl-C: SIGINT or, on a terminal, the key, which the terminal may turn into a signal. */
  interrupt(): void {
    if (this.#onTerminal) this.#child.stdin.write("\x03");
    else this.#child.kill("SIGINT");
  }

  async #end(): Promise<CtrResult> {
    const [code, signal] = (await once(this.#child, "close")) as [number | null, NodeJS.Signals | null];
    for (const check of this.#waiting) check();
    return {
      code,
      signal,
      stdout: this.#stdout,
      stderr: this.#stderr,
      stdoutBytes: this.#bytes,
      stdoutSha256: this.#hash.digest("hex"),
    };
  }

  /** Resolves when stdout contains `text`; rejects if ctr exits before that. */
  async printed(text: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        if (this.#stdout.includes(text)) resolve();
        else if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
          reject(new Error(`ctr exited before it printed ${JSON.stringify(text)}: ${this.#stderr}`));
        } else return;
        this.#waiting.delete(check);
      };
      this.#waiting.add(check);
      check();
    });
  }
}

/** `ctr` of one containerd, in one namespace. */
export class Ctr {
  constructor(
    readonly command: string,
    readonly namespace: string,
  ) {}

  start(args: readonly string[], options: CtrOptions = {}): RunningCtr {
    return new RunningCtr(this.command, ["--namespace", this.namespace, ...args], options);
  }

  /**
   * Starts ctr on a terminal of 40 rows and 120 columns (script(1)): a signal that kills ctr is status 128 +
   * its number.
   */
  startOnTerminal(args: readonly string[], options: Pick<CtrOptions, "timeoutMs"> = {}): RunningCtr {
    const quoted = [this.command, "--namespace", this.namespace, ...args].map(
      (word) => `'${word.replaceAll("'", "'\\''")}'`,
    );
    const command = `stty rows 40 cols 120; exec ${quoted.join(" ")}`;
    const terminal = { ...options, holdStdin: true, onTerminal: true };
    return new RunningCtr("script", ["-qefc", command, "/dev/null"], terminal);
  }

  /** Runs ctr, whatever its exit status. */
  call(args: readonly string[], options: CtrOptions = {}): Promise<CtrResult> {
    return this.start(args, options).ended;
  }

  /** Runs ctr; rejects with its output if it fails. */
  async expect(args: readonly string[], options: CtrOptions = {}): Promise<CtrResult> {
    const result = await this.call(args, options);
    if (result.code !== 0) {
      throw new Error(`ctr ${args.join(" ")}: ${result.signal ?? `status ${result.code}`}: ${result.stderr}`);
    }
    return result;
  }
}
