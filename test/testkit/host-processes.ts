import { readdir, readFile } from "node:fs/promises";

/** A process of a pod on the host, as /proc shows it. */
export interface PodProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  /** The fields of /proc/PID/status: `Uid`, `CapEff`, `Seccomp`... Several values are divided by tabs. */
  readonly status: Readonly<Record<string, string>>;
}

/** The processes whose program ends with `program` and that carry the mark of `pod` (`<namespace>/<pod>`). */
export async function podProcesses(program: string, pod: string): Promise<PodProcess[]> {
  const found: PodProcess[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const [line = "", environment, status = ""] = await Promise.all(
      ["cmdline", "environ", "status"].map((file) =>
        readFile(`/proc/${pid}/${file}`, "utf8").catch(() => ""),
      ),
    );
    const argv = line.split("\0").slice(0, -1);
    if (!argv[0]?.endsWith(program) || !environment?.includes(`=${pod}\0`)) continue;
    const fields = status.split("\n").map((field) => field.split(":\t"));
    found.push({ pid: Number(pid), argv, status: Object.fromEntries(fields) });
  }
  return found;
}
