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

/** The hooks for the runtime's namespaces, which here are the host's. hull does not run those for the container's. */
type HostHook = "prestart" | "createRuntime" | "poststart" | "poststop";

/** The state that a hook reads from its stdin (runtime.md, "State"). */
interface HookState {
  readonly id: string;
  readonly status: "creating" | "created" | "running" | "stopped";
  /** The VMM's PID, a process in the pod's network namespace; 0 after the container's end. */
  readonly pid: number;
  readonly bundle: string;
}

/** Runs the hooks of a kind in order. Rejects with the first failure and the last lines of that hook's stderr. */
async function runHooks(kind: HostHook, spec: OciSpec, state: HookState, deadline: Deadline): Promise<void> {
  for (const hook of hooksOf(kind, spec)) await runHook(kind, hook, spec, state, deadline);
}

function hooksOf(kind: HostHook, spec: OciSpec): Hook[] {
  const hooks = spec.hooks?.[kind] ?? [];
  if (!Array.isArray(hooks) || !hooks.every(isHook)) {
    throw invalidArgument(`hooks.${kind}: must be a list of hooks, each with an absolute path`);
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
      const reason = stderr.trim().slice(-1024) || HullError.from(error).message;
      throw new HullError("Unknown", reason, { cause: error });
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

/** How long the poststop hooks may take: no caller's deadline covers them. */
const STOP_LIMIT_MS = 10_000;

/** The hooks of one container on the host. */
export class ContainerHooks {
  #poststopDue = false;

  constructor(
    readonly spec: OciSpec,
    readonly id: string,
    readonly bundle: string,
    readonly warn: (message: string, error: unknown) => void,
  ) {}

  /** Runs the hooks before the container exists; the VM runs. A failure fails the creation. Returns whether there are any. */
  async creating(pid: number, deadline: Deadline): Promise<boolean> {
    this.#poststopDue = true;
    const kinds = ["prestart", "createRuntime"] as const;
    for (const kind of kinds) await runHooks(kind, this.spec, this.#state("creating", pid), deadline);
    return kinds.some((kind) => hooksOf(kind, this.spec).length > 0);
  }

  /** Runs the hooks after the start. A failure fails the start, as in runc (and by runtime-spec 1.3). */
  async started(pid: number, deadline: Deadline): Promise<void> {
    await runHooks("poststart", this.spec, this.#state("running", pid), deadline);
  }

  /** Runs the hooks after the deletion or a failed creation, once. A failure is only logged; the next hook runs. */
  async stopped(): Promise<void> {
    if (!this.#poststopDue) return;
    this.#poststopDue = false;
    await Deadline.within(STOP_LIMIT_MS, `container ${this.id}: poststop hooks`, (limit) =>
      this.#runAll("poststop", this.#state("stopped", 0), limit),
    );
  }

  /** Runs every hook of a kind, even if earlier ones fail (runtime.md, "Lifecycle"). Never rejects. */
  async #runAll(kind: HostHook, state: HookState, deadline: Deadline): Promise<void> {
    const warn = (error: unknown) => this.warn(`container ${this.id}: a ${kind} hook failed`, error);
    try {
      for (const hook of hooksOf(kind, this.spec)) {
        await runHook(kind, hook, this.spec, state, deadline).catch(warn);
      }
    } catch (error) {
      warn(error);
    }
  }

  #state(status: HookState["status"], pid: number): HookState {
    return { id: this.id, status, pid, bundle: this.bundle };
  }
}
