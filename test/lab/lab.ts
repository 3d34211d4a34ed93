/** The emulated host of this clone: started, used and ended by separate processes. */
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "../../hack/lib/run.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { ignoring } from "../../src/core/errors.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { lockFile } from "../../src/host/file-lock.ts";
import { DIRECTORY, endBox, HOST_SCRIPTS, inside, isUp, LABS, startBox } from "./box.ts";
import {
  commandLine,
  consoleLog,
  DISK,
  diskFile,
  type HostFiles,
  SHARES,
  SPARE_DEVICES,
  spareDisk,
} from "./command-line.ts";
import { exactTimeQemu } from "./exact-time-qemu.ts";
import { type HostKernel, hostKernel, KMOD_ENVIRONMENT } from "./host-kernel.ts";
import { hostInitrd } from "./initrd.ts";
import { prepareLogin } from "./login.ts";
import { Monitor } from "./monitor.ts";
import type { HostOptions } from "./options.ts";
import { Snapshot } from "./snapshot.ts";
import { labTools, podQemu, qemuMountPoint, type Tools } from "./tools.ts";

/** A boot takes 10 s on an idle machine. */
const BOOT_MS = 600_000;
const LOG_LINES = 20;
const SYSTEMD = "/lib/systemd/systemd";

/** Starts the host and waits until it takes commands. */
export async function up(options: HostOptions): Promise<void> {
  const deadline = Deadline.after(BOOT_MS, "the start of the emulated host");
  await mkdir(dirname(DIRECTORY), { recursive: true });
  const lock = await lockFile(`${DIRECTORY}.lock`, { wait: false }, deadline);
  if (!lock) throw new Error("another hack/lab up is starting the lab");
  try {
    if (await isUp()) throw new Error(`the lab is already up in ${DIRECTORY}; run hack/lab down first`);
    await rm(DIRECTORY, { recursive: true, force: true });
    await prepareAndStart(options, deadline);
  } finally {
    deadline.dispose();
    await rm(`${DIRECTORY}.lock`);
    await lock.release();
  }
}

async function prepareAndStart(options: HostOptions, deadline: Deadline): Promise<void> {
  if (options.systemd && !existsSync(SYSTEMD))
    throw new Error(`--systemd: this machine has no ${SYSTEMD}; install the package systemd`);
  const tools = labTools();
  const kernel = hostKernel(options.kernel, options.iommu ? "generic" : "cloud");
  const initrd = hostInitrd(kernel);
  const qemu = options.exactTime ? exactTimeQemu(tools) : tools.qemu;
  const files = { qemu, kernel: kernel.image, initrd, directory: DIRECTORY };
  try {
    for (const name of SHARES) await mkdir(inside(name), { recursive: true, mode: 0o700 });
    if (options.iommu) run("truncate", ["--size=64M", spareDisk(DIRECTORY)]);
    if (options.systemd) makeDisk(diskFile(DIRECTORY));
    await prepareLogin(tools);
    await writeParameters(options, tools, kernel);
    await start(options, files, tools, deadline);
  } catch (error) {
    const logs = await lastLinesOfLogs();
    await down();
    throw new Error(`${(error as Error).message}\n${logs}`);
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
    await startBox(commandLine(options, files, "boot for a snapshot"), tools.virtiofsd);
    await withMonitor(deadline, async (monitor) => {
      await printed("lab: booted", deadline);
      await snapshot.write((path) => monitor.save(path, deadline));
    });
    await endBox();
  }
  await startBox(commandLine(options, files, options.fresh ? "boot" : "restore"), tools.virtiofsd);
  await withMonitor(deadline, async (monitor) => {
    if (options.fresh) await printed("lab: booted", deadline);
    else await snapshot.read((path) => monitor.restore(path, deadline));
    for (const name of SHARES) await monitor.plugShare(name, inside(`${name}.sock`), deadline);
    if (options.systemd) await monitor.plugDevice(DISK, deadline);
    if (options.iommu) for (const device of SPARE_DEVICES) await monitor.plugDevice(device, deadline);
    await monitor.resume(deadline);
  });
  await printed("Not backgrounding", deadline);
}

/** Makes an empty ext4 file system, sparse. */
function makeDisk(path: string): void {
  run("truncate", ["--size=16G", path]);
  run("mkfs.ext4", ["-q", "-E", "lazy_itable_init=1,lazy_journal_init=1", path], { env: KMOD_ENVIRONMENT });
}

/** Resets a host with systemd, which keeps its disk, and waits until it takes commands again. */
export async function reboot(): Promise<void> {
  if (!(await isUp())) throw new Error("the lab is not up; run hack/lab up");
  if (!existsSync(diskFile(DIRECTORY)))
    throw new Error("only a lab that was started with --systemd can be reset");
  const deadline = Deadline.after(BOOT_MS, "the restart of the emulated host");
  try {
    const before = (await readFile(consoleLog(DIRECTORY))).length;
    await withMonitor(deadline, (monitor) => monitor.reset(deadline));
    await printed("Not backgrounding", deadline, before);
  } finally {
    deadline.dispose();
  }
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

/** Waits for a text on the host's console, behind the first `offset` bytes. */
async function printed(text: string, deadline: Deadline, offset = 0): Promise<void> {
  await pollUntil(async () => {
    if (!(await isUp())) throw new Error("the emulated host has ended");
    const output = await readFile(consoleLog(DIRECTORY), "latin1").catch(ignoring("ENOENT"));
    return output?.includes(text, offset) ?? false;
  }, deadline);
}

/** Writes the program that starts the host's user space, and its parameters, in the share `lab`. */
async function writeParameters(options: HostOptions, tools: Tools, kernel: HostKernel): Promise<void> {
  const { qemu } = options;
  const parameters = {
    LAB_INIT: options.systemd ? "systemd" : "",
    LAB_MODULES: kernel.modules,
    LAB_DROPBEAR: tools.dropbear,
    LAB_QEMU: qemu ? podQemu(qemu) : "",
    LAB_QEMU_MOUNT_POINT: qemu ? qemuMountPoint(qemu) : "",
  };
  const lines = Object.entries(parameters).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(inside("lab/parameters"), lines.join(""));
  await copyFile(join(HOST_SCRIPTS, "start"), inside("lab/start"));
}

/** Ends the host, if it runs, and removes everything. */
export async function down(): Promise<void> {
  await endBox();
  await rm(DIRECTORY, { recursive: true, force: true });
  await rmdir(LABS).catch(ignoring("ENOENT", "ENOTEMPTY"));
}
