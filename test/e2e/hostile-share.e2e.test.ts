/**
 * A guest with a compromised kernel has access to the whole share, which must not lead the host to any other
 * path.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, it } from "node:test";
import { promisify } from "node:util";
import { parseMountInfo } from "../../src/core/mountinfo.ts";
import { type ContainerSettings, type CriContainer, IDLE } from "../testkit/cri.ts";
import { forEveryHandler } from "./cri-fixture.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";

const HOSTILE: ContainerSettings = {
  linux: { securityContext: { capabilities: { addCapabilities: ["ALL"] }, seccomp: { profileType: 1 } } },
};

/**
 * $1: target of symlinks, $2: a container's id, /b/fs: file-semantics.c. Prints how each attempt ended.
 * Removes nothing recursively: the names are real volumes.
 */
const ATTACK = `
try() { if output=$("$@" 2>&1); then echo "$*: done"; else echo "$*: \${output##*: }"; fi; }
cd /hostile
for name in made .volumes "$2"; do
  try ln -sT "$1" $name; try mkdir $name; try mkfifo $name; try mknod $name b 7 0; try mknod $name c 1 3
  try dd if=/dev/zero of=$name count=1
  output=$(timeout 10 /b/fs serve $name 2>/dev/null); echo "serve $name: \${output#listening }"
done
for number in 0 1 2 3 4 5 6 7 8 9; do try ln -sT "$1/file" .volumes/$number; try mkdir .volumes/$number; done
try ln -sT "$1" "$2/rootfs"
for name in $(ls -A); do
  try mv $name moved
  if [ -d $name ]; then try rmdir $name; else try unlink $name; try ln -T $name linked; fi
done
try chmod 777 .; try touch .; try mount -o remount,rw /hostile
true`;

/**
 * The hostile container's program. While /go exists, creates and renames symlinks and directories at every
 * name that appears, as fast as it can. $1: target of symlinks.
 */
const RACE = `
trap 'exit 0' TERM
mkdir /hostile && mount -t virtiofs hull /hostile && cd /hostile && echo >/mounted || exit 1
until [ -e /stop ]; do
  [ -e /go ] || { sleep 0.1; continue; }
  for name in $(ls -A) next .volumes/0 .volumes/1 .volumes/2 .volumes/3; do
    mv $name taken && echo "mv $name"; ln -sT "$1/file" $name && echo "ln $name"
    [ -d $name ] && rmdir $name && mkdir $name && echo "mkdir $name"
  done
done >/won 2>/dev/null
echo >/stopped
sleep 100000 & wait`;

/** Creates in a volume what is neither a file nor a directory. */
const LEAVE = `
mkdir -p /left && cd /left && mkfifo pipe && mknod block b 7 0 && mknod char c 1 5 && { /b/fs serve socket >/dev/null & }
until [ -S socket ]; do sleep 0.1; done`;

/** A shell command that waits for a file, up to the exec's timeout. */
const until = (path: string) => `until [ -e ${path} ]; do sleep 0.1; done`;

/** Compiles the program that creates sockets in guests. */
async function makeProgram(directory: string): Promise<void> {
  await mkdir(directory);
  const source = join(import.meta.dirname, "file-semantics.c");
  await promisify(execFile)("cc", ["-O1", "-static", "-o", join(directory, "fs"), source]);
}

/** Returns a hash over every path, its type and content. */
async function checksum(directory: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(directory, { recursive: true })).sort()) {
    const { mode } = await lstat(join(directory, name));
    hash.update(`${name}\0${mode}\0`);
    if ((mode & 0o170000) === 0o100000) hash.update(await readFile(join(directory, name)));
  }
  return hash.digest("hex");
}

/** The mount points of a process without those of the pod and of other tests in the test directory. */
async function mountPoints(pid: number | "self", podDirectory: string, ours: string): Promise<string[]> {
  const below = (path: string, directory: string) => path.startsWith(`${directory}/`);
  return parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, "utf8"))
    .filter(({ type }) => type !== "nsfs")
    .map(({ target }) => target)
    .filter((path) => !below(path, podDirectory) && (below(path, ours) || !below(path, tmpdir())))
    .sort();
}

/**
 * Runs `step` and checks that the files of the host outside the pod, in `directory`, are unchanged, however
 * it ended.
 */
async function guarded(directory: string, step: (canary: string) => Promise<void>): Promise<void> {
  const canary = join(directory, "canary");
  await mkdir(join(canary, "directory"), { recursive: true });
  await writeFile(join(canary, "file"), "the host's\n");
  await writeFile(join(canary, "directory/inner"), "the host's, too\n");
  const before = await checksum(canary);
  const failure = await step(canary).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  assert.equal(await checksum(canary), before, "files of the host outside the pod were changed");
  if (failure) throw failure.error;
}

/** Asserts that every attempt failed for the right reason, and that there were targets to try. */
function assertRefused(attempts: readonly string[], names: number): void {
  // If the directory does not exist, the error is another; remounting affects only the guest.
  const expected = (line: string) =>
    /: Read-only file system$/.test(line) ||
    (/ \S+\/\S*: No such file or directory$/.test(line) && !line.includes("/hostile")) ||
    line.startsWith("mount ");
  assert.deepEqual(
    attempts.filter((line) => !expected(line)),
    [],
  );
  const seen = attempts.filter((line) => / [0-9a-f]{32} moved: Read-only/.test(line));
  assert.ok(seen.length >= names, `the guest saw too few names: ${seen.join()}`);
}

forEveryHandler("hostile share", (target, handler) => {
  if (handler === "runc") return; // runc has no guest
  const bin = () => ({ hostPath: join(target().directory, "bin"), containerPath: "/b", readonly: true });
  before(() => makeProgram(join(target().directory, "bin")));

  it("mounts pipes, sockets and devices that a guest has left in a volume, without blocking on any", () =>
    guarded(target().directory, async () => {
      const left = join(target().directory, "left");
      await mkdir(left);
      const pod = await target().runPod();
      const volume = { hostPath: left, containerPath: "/left" };
      const attacker = await pod.run(IDLE, { ...HOSTILE, mounts: [bin(), volume] });
      const { code, stderr } = await attacker.sh(LEAVE);
      assert.equal(code, 0, stderr);
      const names = ["pipe", "block", "char", "socket"];
      const mounts = names.map((name) => ({ hostPath: join(left, name), containerPath: `/m/${name}` }));
      const victim = await pod.run(IDLE, { mounts });
      const { stdout } = await victim.sh(
        "cd /m; [ -p pipe -a -b block -a -c char -a -S socket ] && echo all",
      );
      assert.equal(stdout, "all\n");
      assert.deepEqual((await readdir(left)).sort(), names.sort());
    }));

  it("does not let a guest create entries, and mounts volumes only in their places while it tries", () =>
    guarded(target().directory, async (canary) => {
      const at = (name: string) => join(target().directory, name);
      await mkdir(at("volume"));
      const pod = await target().runPod();
      const directory = `/run/hull/k8s.io/${pod.id}`;
      const shim = Number.parseInt(await readFile(join(directory, "shim.pid"), "utf8"), 10);
      const mounts = () =>
        Promise.all((["self", shim] as const).map((pid) => mountPoints(pid, directory, target().directory)));
      const mounted = await mounts();
      const attacker = await pod.run(["sh", "-c", RACE, "sh", canary], { ...HOSTILE, mounts: [bin()] });
      await attacker.sh(until("/mounted"));
      const attack = async (id: string): Promise<string[]> => {
        const { code, stdout, stderr } = await attacker.exec(["sh", "-c", ATTACK, "sh", canary, id]);
        assert.equal(code, 0, stderr);
        return stdout.trimEnd().split("\n");
      };
      const attempts = await attack(attacker.id);
      for (const round of [1, 2, 3]) {
        await writeFile(at("single"), `single ${round}\n`);
        await writeFile(at("volume/file"), `volume ${round}\n`);
        const racing = round === 2;
        if (racing) await attacker.sh("touch /go");
        const victim = await pod.create(IDLE, {
          mounts: [
            { hostPath: at("single"), containerPath: "/etc/single" },
            { hostPath: at("volume"), containerPath: "/volume" },
          ],
        });
        if (racing) {
          // A guest that accesses a name before it is mounted can break a container of its own pod, nothing
          // else: then its error is the guest's.
          await victim.start().catch((error: unknown) => assert.match(String(error), /guest agent: /));
          await attacker.sh("rm /go");
        } else {
          await victim.start();
          await assertHasVolumes(victim, round);
          assert.equal(await readFile(at("single"), "utf8"), `single ${round}\nwritten\n`);
          assert.equal(await readFile(at("volume/new"), "utf8"), `${round}\n`);
        }
        attempts.push(...(await attack(victim.id)));
        await victim.remove();
      }
      await attacker.sh(`touch /stop; ${until("/stopped")}`);
      assert.deepEqual(await mounts(), mounted, "something is mounted in an unexpected place");
      const { stdout } = await attacker.sh("ls -A /hostile; cat /won");
      assert.match(stdout, /^([0-9a-f]{32}\n)+$/, "an entry created by the guest, or a race that it won");
      assertRefused(attempts, 8); // its own volumes, and two others with two volumes each
    }));
});

forEveryRunner(
  "hostile-share",
  (runner) => {
    it("does not let a privileged container of ctr create entries", async () => {
      const directory = await mkdtemp(join(tmpdir(), "hull-share-"));
      try {
        await guarded(directory, async (canary) => {
          const single = join(directory, "single");
          await writeFile(single, "single\n");
          const mounted = await mountPoints("self", "/run/hull", directory);
          await makeProgram(join(directory, "bin"));
          const id = runner().id();
          const script = `cat /etc/single; mkdir /hostile && mount -t virtiofs hull /hostile || exit 1\n${ATTACK}`;
          const mount = `type=bind,src=${single},dst=/etc/single,options=rbind:rw`;
          const program = `type=bind,src=${join(directory, "bin")},dst=/b,options=rbind:ro`;
          const flags = [
            "--privileged",
            "--privileged-without-host-devices",
            "--mount",
            mount,
            "--mount",
            program,
          ];
          const { code, stdout, stderr } = await runner().run(["sh", "-c", script, "sh", canary, id], {
            id,
            flags,
            timeoutMs: 120_000,
          });
          assert.equal(code, 0, stderr);
          const [content, ...attempts] = stdout.trimEnd().split("\n");
          assert.equal(content, "single");
          assertRefused(attempts, 2);
          assert.deepEqual(await mountPoints("self", "/run/hull", directory), mounted);
        });
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  },
  ["hull"],
  newestLine(),
);

async function assertHasVolumes(container: CriContainer, round: number): Promise<void> {
  const script = `cat /etc/single /volume/file; echo written >>/etc/single; echo ${round} >/volume/new`;
  const { code, stdout, stderr } = await container.sh(script);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `single ${round}\nvolume ${round}\n`);
}
