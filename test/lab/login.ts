/** Commands in the emulated host, by ssh. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { run } from "../../hack/lib/run.ts";
import { boxNetns, DIRECTORY, inside } from "./box.ts";
import { labTools, type Tools } from "./tools.ts";

const KEY = inside("key");

/** Writes the keys of dropbear in the share `lab`, and what dbclient needs to log in. */
export async function prepareLogin(tools: Tools): Promise<void> {
  const key = makeKey(tools, KEY);
  const hostKey = makeKey(tools, inside("lab/host-key"));
  await mkdir(inside(".ssh"));
  await writeFile(inside(".ssh/known_hosts"), `127.0.0.1 ${hostKey}\n`);
  await writeFile(inside("lab/authorized_keys"), `${key}\n`, { mode: 0o600 });
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
  const netns = await boxNetns();
  const login = [labTools().dbclient, "-q", "-i", KEY, mode, "root@127.0.0.1", command];
  return spawn("nsenter", [`--net=${netns}`, ...login], {
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
