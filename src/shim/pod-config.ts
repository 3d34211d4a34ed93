import type { LoadedConfig } from "../config/load.ts";
import type { Config } from "../config/schema/schema.ts";
import type { SignalRequest } from "../pod/process.ts";
import type { LogLevel } from "./bootstrap/start-input.ts";

type Annotations = Readonly<Record<string, string>>;

/** The configuration of one pod: the files, with the pod's annotations applied once it boots. */
export class PodConfig {
  readonly #files: Promise<LoadedConfig>;
  #pod: Promise<LoadedConfig> | undefined;
  readonly #onLoaded: (loaded: LoadedConfig) => void;

  /** `onLoaded` gets the configuration of the files when it is loaded, then the one with the pod's annotations. */
  constructor(files: Promise<LoadedConfig>, onLoaded: (loaded: LoadedConfig) => void) {
    this.#files = files;
    this.#onLoaded = onLoaded;
    files.then(onLoaded, () => undefined); // the first Create gets the error
  }

  /** Applies the pod's annotations; later calls return the same. Throws a ConfigError. */
  ofPod(annotations: Annotations): Promise<LoadedConfig> {
    if (this.#pod) return this.#pod;
    this.#pod = this.#files.then((files) => files.withAnnotations(annotations));
    this.#pod.then(this.#onLoaded, () => undefined); // the caller gets the error
    return this.#pod;
  }

  /** Returns `runtime.sigterm_escalation`: when SIGKILL follows SIGTERM. */
  async escalation(): Promise<SignalRequest["escalation"]> {
    const chosen = (await this.#current()).runtime.sigterm_escalation;
    return typeof chosen === "string" ? chosen : { afterMs: chosen.after };
  }

  /**
   * Returns the timeout of a Create with these annotations, in ms (`runtime.create_container_timeout`). Infinity if
   * the configuration is invalid: the Create then fails with the reason.
   */
  async createTimeoutMs(annotations: Annotations): Promise<number> {
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

/** Most verbose first. */
const LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal"];

/**
 * Returns the log level to use: `runtime.log_level` if set, unless containerd `requested` a more verbose one, debug or
 * trace.
 */
export function logLevel(requested: LogLevel, loaded: LoadedConfig): LogLevel {
  const { log_level } = loaded.config.runtime;
  if (loaded.inForce("runtime.log_level").origin.kind === "default") return requested;
  const verbose = requested === "trace" || requested === "debug";
  return verbose && LEVELS.indexOf(requested) < LEVELS.indexOf(log_level) ? requested : log_level;
}
