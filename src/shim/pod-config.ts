import type { LoadedConfig } from "../config/load.ts";
import type { Config } from "../config/schema/schema.ts";
import type { SignalRequest } from "../pod/process.ts";
import type { LogLevel } from "./bootstrap/start-input.ts";

type Annotations = Readonly<Record<string, string>>;

/** The configuration of one pod: what the files say, and from the pod's start on its annotations as well. */
export class PodConfig {
  readonly #files: Promise<LoadedConfig>;
  #pod: Promise<LoadedConfig> | undefined;
  readonly #inForce: (loaded: LoadedConfig) => void;

  /** `inForce` is told of the configuration once it is loaded, and once more with the pod's annotations. */
  constructor(files: Promise<LoadedConfig>, inForce: (loaded: LoadedConfig) => void) {
    this.#files = files;
    this.#inForce = inForce;
    files.then(inForce, () => undefined); // a refused file is told to whoever creates the first container
  }

  /** With the annotations of the pod, which are those that it is booted with. Throws a ConfigError. */
  ofPod(annotations: Annotations): Promise<LoadedConfig> {
    if (this.#pod) return this.#pod;
    this.#pod = this.#files.then((files) => files.withAnnotations(annotations));
    this.#pod.then(this.#inForce, () => undefined); // refused ones are told to the caller
    return this.#pod;
  }

  /** What follows a SIGTERM (`runtime.sigterm_escalation`). */
  async escalation(): Promise<SignalRequest["escalation"]> {
    const chosen = (await this.#current()).runtime.sigterm_escalation;
    return typeof chosen === "string" ? chosen : { afterMs: chosen.after };
  }

  /**
   * The limit of a Create with these annotations, in ms (`runtime.create_container_timeout`). None where the
   * configuration is refused: the Create itself tells why.
   */
  async createLimitMs(annotations: Annotations): Promise<number> {
    const pod = this.#pod ?? this.#files.then((files) => files.withAnnotations(annotations));
    return await pod.then(
      ({ config }) => config.runtime.create_container_timeout,
      () => Number.POSITIVE_INFINITY,
    );
  }

  async #current(): Promise<Config> {
    return (await (this.#pod ?? this.#files)).config;
  }
}

/** From the most talkative on. */
const LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal"];

/** The log's level: `runtime.log_level` where it is set, unless containerd, which runs with --debug, asks for more. */
export function logLevel(asked: LogLevel, loaded: LoadedConfig): LogLevel {
  const { log_level } = loaded.config.runtime;
  if (loaded.inForce("runtime.log_level").origin.kind === "default") return asked;
  const debugs = asked === "trace" || asked === "debug";
  return debugs && LEVELS.indexOf(asked) < LEVELS.indexOf(log_level) ? asked : log_level;
}
