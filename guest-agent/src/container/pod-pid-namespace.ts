import type { Reaper } from "../loop/reaper.ts";
import { SIGCHLD, type Sys } from "../sys.ts";

/** The argument with which this program holds a PID namespace instead of being PID 1 of the guest. */
export const HOLDER_ARGUMENT = "pid-namespace-holder";

/** As the kubelet sets it for pause: the OOM killer selects this process last. */
const OOM_SCORE = "-998";

/**
 * The PID namespace that containers of a pod share on request (pid_namespaces(7)). Its init must outlive them
 * all and reap their orphans: that is this program again, started when the first such container is created.
 */
export class PodPidNamespace {
  #holder: number | undefined;

  constructor(
    readonly sys: Sys,
    readonly reaper: Reaper,
  ) {}

  /** Returns the path of the namespace; creates it first if necessary. */
  path(): string {
    this.#holder ??= this.#start();
    return `/proc/${this.#holder}/ns/pid`;
  }

  #start(): number {
    const { sys } = this;
    const own = sys.open("/proc/self/ns/pid", sys.O_RDONLY);
    try {
      // unshare(2) moves only children into the new namespace; setns(2) undoes that for later ones.
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

/** The holder's program: reaps until the guest powers off. */
export function holdPidNamespace(sys: Sys): void {
  sys.onSignal(SIGCHLD, () => {
    while (sys.waitpid(-1));
  });
  sys.run();
}
