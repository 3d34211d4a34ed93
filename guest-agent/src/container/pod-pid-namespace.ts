import type { Reaper } from "../loop/reaper.ts";
import { SIGCHLD, type Sys } from "../sys.ts";

/** The argument that makes this program hold a pid namespace instead of being PID 1 of the guest. */
export const HOLDER_ARGUMENT = "pid-namespace-holder";

/** As the kubelet does with pause: the last process of a pod that the kernel kills for memory. */
const OOM_SCORE = "-998";

/**
 * The pid namespace that containers of a pod share when asked to (pid_namespaces(7)). Its first process must outlive
 * all of them, and reaps what their processes leave behind: that is this program again, started when the first such
 * container is created.
 */
export class PodPidNamespace {
  #holder: number | undefined;

  constructor(
    readonly sys: Sys,
    readonly reaper: Reaper,
  ) {}

  /** The path of the namespace, which is made where there is none. */
  path(): string {
    this.#holder ??= this.#start();
    return `/proc/${this.#holder}/ns/pid`;
  }

  #start(): number {
    const { sys } = this;
    const own = sys.open("/proc/self/ns/pid", sys.O_RDONLY);
    try {
      // Only children that are started meanwhile are in the new namespace: setns(2) takes that back.
      sys.unshare(sys.CLONE_NEWPID);
      try {
        const pid = sys.spawn({ argv: ["/proc/self/exe", HOLDER_ARGUMENT], env: [], setsid: true });
        this.reaper.watch(pid, () => {
          this.#holder = undefined;
        });
        sys.writeFile(`/proc/${pid}/oom_score_adj`, OOM_SCORE, sys.O_WRONLY);
        return pid;
      } finally {
        sys.setns(own, sys.CLONE_NEWPID);
      }
    } finally {
      sys.close(own);
    }
  }
}

/** What the holder does: nothing but reap. It ends with the guest. */
export function holdPidNamespace(sys: Sys): void {
  sys.onSignal(SIGCHLD, () => {
    while (sys.waitpid(-1));
  });
  sys.run();
}
