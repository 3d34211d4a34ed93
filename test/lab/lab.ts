/** The emulated host of this clone: started, used and ended by separate processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, mkdir, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CACHE, keyOf } from "../../hack/lib/cache.ts";
import { ROOT, run } from "../../hack/lib/run.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { ignoring } from "../../src/core/errors.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { commandLine, consoleLog, type HostFiles, SHARES, SPARE_DEVICES, spareDisk } from "./command-line.ts";
import { type HostKernel, hostKernel } from "./host-kernel.ts";
import { hostInitrd } from "./initrd.ts";
import { Monitor } from "./monitor.ts";
import type { HostOptions } from "./options.ts";
import { Snapshot } from "./snapshot.ts";
import { labTools, podQemu, qemuMountPoint, type Tools } from "./tools.ts";

/** The socket paths in it have to be short. */
const DIRECTORY = process.env.HULL_LAB_DIR ?? `/run/hull-lab/${keyOf(ROOT).slice(0, 8)}`;
const HOST_SCRIPTS = join(import.meta.dirname, "host");
/** A boot takes 10 s on a machine that does nothing else. */
const BOOT_MS = 600_000;
const LOG_LINES = 20;
const END_SECONDS = 60;

const inside = (name: string): string => join(DIRECTORY, name);

const KEY = inside("key");

/** Starts the host and waits until it takes commands. */
export async function up(options: HostOptions): Promise<void> {
  if (await isUp())
    throw new Error(`a lab of this clone already runs in ${DIRECTORY}: run hack/lab down first`);
  const tools = labTools();
  const kernel = hostKernel(options.kernel, options.iommu ? "generic" : "cloud");
  const initrd = hostInitrd(kernel);
  const files = { qemu: tools.qemu, kernel: kernel.image, initrd, directory: DIRECTORY };
  await rm(DIRECTORY, { recursive: true, force: true });
  for (const name of SHARES) await mkdir(inside(name), { recursive: true, mode: 0o700 });
  if (options.iommu) run("truncate", ["--size=64M", spareDisk(DIRECTORY)]);
  await prepareLogin(tools);
  await writeParameters(options, tools, kernel);
  const deadline = Deadline.after(BOOT_MS, "the start of the emulated host");
  try {
    await start(options, files, tools, deadline);
  } catch (error) {
    const logs = await lastLinesOfLogs();
    await down();
    throw new Error(`${(error as Error).message}\n${logs}`);
  } finally {
    deadline.dispose();
  }
}

async function start(
  options: HostOptions,
  files: HostFiles,
  tools: Tools,
  deadline: Deadline,
): Promise<void> {
  const snapshot = new Snapshot(commandLine(options, { ...files, directory: "" }, "boot for a snapshot"));
  if (!options.fresh && !(await snapshot.exists())) {
    await startBox(commandLine(options, files, "boot for a snapshot"), tools);
    await withMonitor(deadline, async (monitor) => {
      await printed("lab: booted", deadline);
      await snapshot.write((path) => monitor.save(path, deadline));
    });
    await endBox();
  }
  await startBox(commandLine(options, files, options.fresh ? "boot" : "restore"), tools);
  await withMonitor(deadline, async (monitor) => {
    if (options.fresh) await printed("lab: booted", deadline);
    else await monitor.restore(snapshot.path, deadline);
    for (const name of SHARES) await monitor.plugShare(name, inside(`${name}.sock`), deadline);
    if (options.iommu) for (const device of SPARE_DEVICES) await monitor.plugDevice(device, deadline);
    await monitor.resume(deadline);
  });
  await printed("Not backgrounding", deadline);
}

async function withMonitor(deadline: Deadline, use: (monitor: Monitor) => Promise<void>): Promise<void> {
  const monitor = await Monitor.connect(DIRECTORY, deadline);
  try {
    await use(monitor);
  } finally {
    monitor.close();
  }
}

/** Returns the last lines of each of the lab's logs. */
async function lastLinesOfLogs(): Promise<string> {
  const names = (await readdir(DIRECTORY)).filter((name) => name === "log" || name.endsWith(".log"));
  const texts = names.map(async (name) => {
    const lines = (await readFile(inside(name), "utf8")).trim().split("\n").slice(-LOG_LINES);
    return [`${name}:`, ...lines.map((line) => `  ${line}`)].join("\n");
  });
  return (await Promise.all(texts)).join("\n");
}

/** Waits for a text on the host's console. */
async function printed(text: string, deadline: Deadline): Promise<void> {
  await pollUntil(async () => {
    if (!(await isUp())) throw new Error("the emulated host has ended");
    return (await readFile(consoleLog(DIRECTORY), "latin1")).includes(text);
  }, deadline);
}

/** Writes the keys of dropbear in the share `lab`, and what dbclient needs to log in. */
async function prepareLogin(tools: Tools): Promise<void> {
  const key = makeKey(tools, KEY);
  const hostKey = makeKey(tools, inside("lab/host-key"));
  await mkdir(inside(".ssh"));
  await writeFile(inside(".ssh/known_hosts"), `127.0.0.1 ${hostKey}\n`);
  await writeFile(inside("lab/authorized_keys"), `${key}\n`, { mode: 0o600 });
}

/** Writes the program that starts the host's user space, and its parameters, in the share `lab`. */
async function writeParameters(options: HostOptions, tools: Tools, kernel: HostKernel): Promise<void> {
  const { qemu } = options;
  const parameters = {
    LAB_MODULES: kernel.modules,
    LAB_DROPBEAR: tools.dropbear,
    LAB_QEMU: qemu ? podQemu(qemu) : "",
    LAB_QEMU_MOUNT_POINT: qemu ? qemuMountPoint(qemu) : "",
  };
  const lines = Object.entries(parameters).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(inside("lab/parameters"), lines.join(""));
  await copyFile(join(HOST_SCRIPTS, "start"), inside("lab/start"));
}

/** Makes a key pair in `path` and returns the public key, as type and base64. */
function makeKey({ dropbearKey }: Tools, path: string): string {
  run(dropbearKey, ["-t", "ed25519", "-f", path], { stdio: "ignore" });
  const lines = run(dropbearKey, ["-y", "-f", path]).split("\n");
  const publicKey = lines
    .map((line) => /^ssh-ed25519 \S+/.exec(line)?.[0])
    .find((found) => found !== undefined);
  if (!publicKey) throw new Error(`${dropbearKey} has printed no public key`);
  return publicKey;
}

/** Starts the lab's processes, which outlive this one. */
async function startBox(qemu: readonly string[], tools: Tools): Promise<void> {
  const log = await open(inside("log"), "w");
  const namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
  const box = [join(HOST_SCRIPTS, "box"), DIRECTORY, tools.virtiofsd, ...qemu];
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

/** Ends the host, if it runs, and removes everything. */
export async function down(): Promise<void> {
  await endBox();
  await rm(DIRECTORY, { recursive: true, force: true });
}

async function endBox(): Promise<void> {
  const pid = await boxPid();
  if (pid === undefined) return;
  process.kill(pid, "SIGKILL");
  // The lab's processes hold the lock until their end.
  run("flock", ["--timeout", String(END_SECONDS), inside("lock"), "true"]);
}

/** Runs a shell command in the host, with a terminal if `terminal` is set, and returns its exit status. */
export async function runInside(command: string, terminal: boolean): Promise<number> {
  const child = await ssh(command, terminal ? "-t" : "-T", "inherit");
  return exitOf(child);
}

/** Runs a shell command in the host and returns its output. Throws if it fails. */
export async function readInside(command: string): Promise<string> {
  const child = await ssh(command, "-T", "pipe");
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const status = await exitOf(child);
  if (status !== 0) throw new Error(`${command}: status ${status}`);
  return Buffer.concat(chunks).toString("utf8");
}

async function ssh(command: string, mode: "-t" | "-T", output: "inherit" | "pipe"): Promise<ChildProcess> {
  const pid = await boxPid();
  if (pid === undefined) throw new Error("the lab is not up: run hack/lab up");
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1");
  const login = [labTools().dbclient, "-q", "-i", KEY, mode, "root@127.0.0.1", command];
  return spawn("nsenter", [`--net=/proc/${children.trim()}/ns/net`, ...login], {
    stdio: ["inherit", output, "inherit"],
    // dbclient finds the host's key there.
    env: { ...process.env, HOME: DIRECTORY },
  });
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      signal ? reject(new Error(`dbclient: ${signal}`)) : resolve(code ?? 1),
    );
  });
}
