import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";

/** The busybox image that hack/containerd imports. */
export const BUSYBOX = "hull.test/busybox:latest";

/** What a finished `ctr` left. `ctr run` in the foreground ends with the task's own exit status. */
export interface CtrResult {
  /** 128 + the signal's number when ctr itself was killed is not made up: `signal` tells it and code is null. */
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
  /** Keeps stdin open until `closeStdin`, which then gives the input. */
  readonly holdStdin?: boolean | undefined;
  /** ctr gets SIGKILL after this time. Default 90 s. */
  readonly timeoutMs?: number | undefined;
}

/** Bytes of each stream that a result keeps as text; counts and checksums cover all of it. */
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
  /** Resolves when ctr has ended and both streams are read to their end. */
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
    // A task may end without reading its input: EPIPE is then the expected end of this stream.
    this.#child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") this.#stderr += `\nstdin: ${error.message}`;
    });
    if (!holdStdin) this.closeStdin(stdin);
    this.ended = this.#end();
  }

  /** Writes the last input and closes stdin. */
  closeStdin(last?: Buffer): void {
    this.#child.stdin.end(last);
  }

  /** Takes ctr away as SIGKILL does: containerd is told nothing but that its client is gone. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Ctrl-C: SIGINT, or on a terminal the key, of which the terminal may make a signal. */
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

  /** Resolves when stdout holds `text`; rejects when ctr ends without having printed it. */
  async printed(text: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        if (this.#stdout.includes(text)) resolve();
        else if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
          reject(new Error(`ctr ended before it printed ${JSON.stringify(text)}: ${this.#stderr}`));
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

  /** Starts ctr on a terminal of 40 rows and 120 columns, which script(1) makes: a signal that ends ctr is 128 + its number. */
  startOnTerminal(args: readonly string[], options: Pick<CtrOptions, "timeoutMs"> = {}): RunningCtr {
    const quoted = [this.command, "--namespace", this.namespace, ...args].map(
      (word) => `'${word.replaceAll("'", "'\\''")}'`,
    );
    const command = `stty rows 40 cols 120; exec ${quoted.join(" ")}`;
    const terminal = { ...options, holdStdin: true, onTerminal: true };
    return new RunningCtr("script", ["-qefc", command, "/dev/null"], terminal);
  }

  /** Runs ctr to its end, whatever its exit status. */
  call(args: readonly string[], options: CtrOptions = {}): Promise<CtrResult> {
    return this.start(args, options).ended;
  }

  /** Runs ctr to its end; rejects with its messages when it fails. */
  async expect(args: readonly string[], options: CtrOptions = {}): Promise<CtrResult> {
    const result = await this.call(args, options);
    if (result.code !== 0) {
      throw new Error(`ctr ${args.join(" ")}: ${result.signal ?? `status ${result.code}`}: ${result.stderr}`);
    }
    return result;
  }
}
