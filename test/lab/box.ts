/** The processes of this clone's lab, which outlive the process that starts them. */
import { spawn } from "node:child_process";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CACHE, keyOf } from "../../hack/lib/cache.ts";
import { ROOT, run } from "../../hack/lib/run.ts";
import { ignoring } from "../../src/core/errors.ts";

/** The directory of the labs of all clones. */
export const LABS = "/run/hull-lab";

/** The lab's files. The paths of sockets in it have to be short. */
export const DIRECTORY = process.env.HULL_LAB_DIR ?? join(LABS, keyOf(ROOT).slice(0, 8));

/** Returns the path of one of the lab's files. */
export const inside = (name: string): string => join(DIRECTORY, name);

/** What runs in the emulated host and in front of it. */
export const HOST_SCRIPTS = join(import.meta.dirname, "host");

const END_SECONDS = 60;

/** Starts the lab's processes with QEMU's command line. */
export async function startBox(qemu: readonly string[], virtiofsd: string): Promise<void> {
  const log = await open(inside("log"), "w");
  const namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
  const box = [join(HOST_SCRIPTS, "box"), DIRECTORY, virtiofsd, ...qemu];
  const env = { ...process.env, LAB_PATHS: [ROOT, CACHE, process.execPath].join("\n") };
  const child = spawn("unshare", [...namespaces, ...box], {
    detached: true,
    stdio: ["ignore", log.fd, log.fd],
    env,
  });
  await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  await log.close();
  await writeFile(inside("pid"), String(child.pid));
  child.unref();
}

/** Returns whether the lab's processes run. */
export async function isUp(): Promise<boolean> {
  return (await boxPid()) !== undefined;
}

/** Returns the PID of unshare(1), the parent of the lab's first process; undefined if the lab does not run. */
async function boxPid(): Promise<number | undefined> {
  const pid = Number(await readFile(inside("pid"), "latin1").catch(ignoring("ENOENT")));
  if (!pid) return undefined;
  const argv = (await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")).split("\0");
  return argv[0] === "unshare" && argv.includes(DIRECTORY) ? pid : undefined;
}

/** Ends the lab's processes, if they still run. */
export async function endBox(): Promise<void> {
  const pid = await boxPid();
  if (pid === undefined) return;
  process.kill(pid, "SIGKILL");
  // The lab's processes hold the lock until their end.
  run("flock", ["--timeout", String(END_SECONDS), inside("lock"), "true"]);
}

/** Returns the network namespace of the lab's processes. Throws if they do not run. */
export async function boxNetns(): Promise<string> {
  const pid = await boxPid();
  if (pid === undefined) throw new Error("the lab is not up; run hack/lab up");
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1");
  return `/proc/${children.trim()}/ns/net`;
}
