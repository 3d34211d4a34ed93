import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { Deadline } from "../core/deadline.ts";
import type { Hierarchy } from "./hierarchies.ts";
import { PodCgroup } from "./pod-cgroup.ts";

const SLICE = "/pods.slice/pods-p1.slice";
const PATH = `${SLICE}/hull-c1.scope`;

/** Logs its arguments, makes the scope and becomes the command behind `--`; fails while the file `refuse` exists. */
const SYSTEMD_RUN = `#!/bin/sh
echo "systemd-run $*" >>"$HOME_OF_TEST/log"
if [ -e "$HOME_OF_TEST/refuse" ]; then echo "Unit hull-c1.scope already exists." >&2; exit 1; fi
mkdir -p "$HOME_OF_TEST/unified${PATH}"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
`;
/** `show` prints the file `group`, `stop` removes the scope and lets the next one start. */
const SYSTEMCTL = `#!/bin/sh
echo "systemctl $*" >>"$HOME_OF_TEST/log"
if [ "$1" = show ]; then cat "$HOME_OF_TEST/group" 2>/dev/null || echo; exit; fi
rm -rf "$HOME_OF_TEST/unified${PATH}"
[ -e "$HOME_OF_TEST/refuse-always" ] || rm -f "$HOME_OF_TEST/refuse"
`;

describe("a pod's scope, with fakes of systemd's tools", () => {
  let home = "";
  let where: Hierarchy[] = [];
  const path = process.env.PATH;
  const log = async () => (await readFile(join(home, "log"), "utf8")).trim().split("\n");
  const exists = (name: string) =>
    stat(join(home, name)).then(
      () => true,
      () => false,
    );

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "hull-scope-"));
    const mount = join(home, "unified");
    await mkdir(mount);
    where = [{ version: 2, mount, controllers: [], own: mount, systemd: true }];
    for (const [name, text] of Object.entries({ "systemd-run": SYSTEMD_RUN, systemctl: SYSTEMCTL }))
      await writeFile(join(home, name), text.replaceAll("$HOME_OF_TEST", home), { mode: 0o755 });
    process.env.PATH = `${home}:${path}`;
  });
  afterEach(async () => {
    process.env.PATH = path;
    await rm(home, { recursive: true });
  });

  test("systemd starts it with this process in it, and ends it; its slices stay", async () => {
    const ledger = new MemoryLedger();
    const group = await PodCgroup.enter(PATH, ledger, where);
    assert.deepEqual(ledger.resources, [{ kind: "cgroup", path: PATH, existing: SLICE }]);
    const procs = join(home, "unified", PATH, "cgroup.procs");
    assert.equal((await readFile(procs, "utf8")).trim(), String(process.pid));
    await group.release(Deadline.none());
    const [started = "", ...others] = await log();
    assert.match(started, /--unit=hull-c1\.scope --slice=pods-p1\.slice .*--property=Delegate=yes/);
    assert.deepEqual(others, ["systemctl stop --quiet hull-c1.scope"]);
    assert.ok(await exists(`unified${SLICE}`));
    assert.ok(!(await exists(`unified${PATH}`)));
    assert.deepEqual(ledger.resources, []);
  });

  test("a unit of an earlier pod is stopped first", async () => {
    await writeFile(join(home, "refuse"), "");
    await PodCgroup.enter(PATH, new MemoryLedger(), where);
    const names = (await log()).map((line) => line.split(" ", 2).join(" "));
    const start = "systemd-run --scope";
    assert.deepEqual(names, [start, "systemctl show", "systemctl stop", start]);
  });

  test("a unit of that name in another slice is another pod's, and is not stopped", async () => {
    await writeFile(join(home, "refuse"), "");
    await writeFile(join(home, "group"), "/others.slice/hull-c1.scope\n");
    const ledger = new MemoryLedger();
    await assert.rejects(PodCgroup.enter(PATH, ledger, where), /Unit hull-c1\.scope already exists/);
    assert.deepEqual(ledger.resources, []);
    assert.ok(!(await log()).some((line) => line.startsWith("systemctl stop")));
  });

  test("systemd's refusal is reported with a remedy, and leaves no record", async () => {
    await writeFile(join(home, "refuse"), "");
    await writeFile(join(home, "refuse-always"), "");
    const ledger = new MemoryLedger();
    await assert.rejects(PodCgroup.enter(PATH, ledger, where), {
      name: "HullError",
      message:
        /^pod cgroup: systemd-run --scope: Unit hull-c1\.scope already exists\.; .*sandbox_cgroup_only/,
    });
    assert.deepEqual(ledger.resources, []);
  });

  test("one that systemd ended while it had no processes is started again", async () => {
    const group = await PodCgroup.enter(PATH, new MemoryLedger(), where);
    await group.outside(() => rm(join(home, "unified", PATH), { recursive: true }));
    assert.equal((await log()).filter((line) => line.startsWith("systemd-run")).length, 2);
  });

  test("an existing cgroup, one that is no scope, and one without systemd need no unit", async () => {
    await mkdir(join(home, "unified", PATH), { recursive: true });
    await PodCgroup.enter(PATH, new MemoryLedger(), where);
    await PodCgroup.enter("/kubepods/pod1/c1", new MemoryLedger(), where);
    await rm(join(home, "unified", PATH), { recursive: true });
    const plain = where.map(({ systemd: _, ...hierarchy }) => hierarchy);
    await PodCgroup.enter(PATH, new MemoryLedger(), plain);
    assert.ok(!(await exists("log")));
  });
});
