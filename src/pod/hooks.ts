import { Deadline } from "../core/deadline.ts";
import { HullError, invalidArgument } from "../core/errors.ts";
import { execute, scrubbedEnvironment } from "../host/run.ts";
import type { OciSpec } from "../oci/spec.ts";

/** A hook of the OCI runtime spec (config.md, "POSIX-platform Hooks"). */
interface Hook {
  readonly path: string;
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  /** Seconds. */
  readonly timeout?: number;
}

/** The hooks that run in the runtime's own namespaces: here, the host's. Those of the container's would be the guest's. */
export type HostHook = "prestart" | "createRuntime" | "poststart" | "poststop";

/** The state that a hook reads from its stdin (runtime.md, "State"). */
export interface HookState {
  readonly id: string;
  readonly status: "creating" | "created" | "running" | "stopped";
  /** The VMM's: a process in the pod's network namespace; 0 once it has ended. */
  readonly pid: number;
  readonly bundle: string;
}

/** Runs the hooks of a kind in their order. Rejects at the first that fails, with its last words. */
export async function runHooks(
  kind: HostHook,
  spec: OciSpec,
  state: HookState,
  deadline: Deadline,
): Promise<void> {
  for (const hook of hooksOf(kind, spec)) await runHook(kind, hook, spec, state, deadline);
}

function hooksOf(kind: HostHook, spec: OciSpec): Hook[] {
  const hooks = spec.hooks?.[kind] ?? [];
  if (!Array.isArray(hooks) || !hooks.every(isHook)) {
    throw invalidArgument(`hooks.${kind}: want a list of hooks, each with an absolute path`);
  }
  return hooks;
}

function isHook(hook: unknown): hook is Hook {
  if (typeof hook !== "object" || hook === null) return false;
  const { path, args = [], env = [], timeout = 1 } = hook as Record<string, unknown>;
  const strings = (list: unknown) => Array.isArray(list) && list.every((one) => typeof one === "string");
  return (
    typeof path === "string" && path.startsWith("/") && strings(args) && strings(env) && Number(timeout) > 0
  );
}

async function runHook(
  kind: HostHook,
  { path, args = [path], env, timeout }: Hook,
  { ociVersion = "1.0.2", annotations = {} }: OciSpec,
  state: HookState,
  caller: Deadline,
): Promise<void> {
  const deadline = caller.shorter(
    timeout === undefined ? Number.POSITIVE_INFINITY : timeout * 1000,
    `hook ${path}`,
  );
  try {
    const { error, stderr } = await execute(
      [path, ...args.slice(1)],
      {
        env: env ? Object.fromEntries(env.map(split)) : scrubbedEnvironment(),
        input: JSON.stringify({ ociVersion, ...state, annotations }),
      },
      deadline,
    );
    if (error) {
      const words = stderr.trim().slice(-1024) || HullError.from(error).message;
      throw new HullError("Unknown", words, { cause: error });
    }
  } catch (error) {
    throw HullError.wrap(`${kind} hook ${path}`, error);
  } finally {
    deadline.dispose();
  }
}

function split(entry: string): [string, string] {
  const at = entry.indexOf("=");
  return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
}

/** How long hooks may take at the end of a container, where no caller's deadline covers them. */
const STOP_LIMIT_MS = 10_000;

/** The host's hooks of one container, in the order of its life. */
export class ContainerHooks {
  #begun = false;

  constructor(
    readonly spec: OciSpec,
    readonly id: string,
    readonly bundle: string,
    readonly warn: (message: string, error: unknown) => void,
  ) {}

  /** The VM runs, the container does not exist yet. A failure is the creation's. Returns whether any hook has run. */
  async creating(pid: number, deadline: Deadline): Promise<boolean> {
    this.#begun = true;
    const kinds = ["prestart", "createRuntime"] as const;
    for (const kind of kinds) await runHooks(kind, this.spec, this.#state("creating", pid), deadline);
    return kinds.some((kind) => hooksOf(kind, this.spec).length > 0);
  }

  /** The container runs. A failure is only told: the specification has the life go on. */
  async started(pid: number, deadline: Deadline): Promise<void> {
    await runHooks("poststart", this.spec, this.#state("running", pid), deadline).catch((error) =>
      this.warn(`container ${this.id}: after its start`, error),
    );
  }

  /** The container is deleted or its creation has failed. Once; a failure is only told. */
  async stopped(): Promise<void> {
    if (!this.#begun) return;
    this.#begun = false;
    await Deadline.within(STOP_LIMIT_MS, `the poststop hooks of container ${this.id}`, (limit) =>
      runHooks("poststop", this.spec, this.#state("stopped", 0), limit),
    ).catch((error) => this.warn(`container ${this.id}: after its end`, error));
  }

  #state(status: HookState["status"], pid: number): HookState {
    return { id: this.id, status, pid, bundle: this.bundle };
  }
}
