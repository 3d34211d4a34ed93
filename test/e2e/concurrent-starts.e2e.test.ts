/**
 * Pods that start concurrently from one directory of templates, while templates are created, discarded and
 * damaged at random. HULL_CONCURRENT_STARTS=200 for a full run; HULL_CONCURRENT_AT_ONCE sets the concurrency.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { TemplateStore } from "../../src/template/store.ts";
import { podProcesses } from "../testkit/host-processes.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { DIST, writeConfig } from "./hull-config.ts";

const STARTS = Number(process.env.HULL_CONCURRENT_STARTS ?? 24);
const AT_ONCE = Number(process.env.HULL_CONCURRENT_AT_ONCE ?? 6);
/** The longest time between two disturbances. */
const PAUSE_MS = 3_000;

forEveryRunner(
  "concurrent",
  (runner) => {
    let root = "";
    let file = "";
    let store: TemplateStore;

    before(async () => {
      root = await mkdtemp("/dev/shm/hull-e2e-concurrent-");
      store = new TemplateStore(join(root, "templates"));
      file = join(root, "qemu.yaml");
      const template = { enable: true, template_path: store.directory };
      await writeConfig(file, { hypervisor: { template }, agent: { boot_timeout: "2m" } });
    });
    after(() => rm(root, { recursive: true, force: true }));

    const hull = async (action: "create" | "destroy") =>
      await promisify(execFile)(join(DIST, "bin/hull"), ["template", action, "--file", file]);
    const discard = async () => {
      for (const { key } of await store.list()) await store.discard(key);
    };
    /** Checks that nothing of a builder is left but the template, if any, and its lock. */
    const assertNothingLeft = async () => {
      assert.deepEqual(await podProcesses("qemu-system-x86_64", store.directory), []);
      const names = (await readdir(store.directory)).filter((name) => !/^([0-9a-f]{32}|lock)$/.test(name));
      assert.deepEqual(names, []);
    };

    it("builds one template if two builders start at once", async () => {
      const [one, other] = await Promise.all([hull("create"), hull("create")]);
      assert.equal(one.stdout, other.stdout);
      assert.equal((await store.list()).length, 1);
      await assertNothingLeft();
    });

    it(`starts ${STARTS} pods, ${AT_ONCE} at a time, whatever happens to the templates`, async (t) => {
      const left = Array.from({ length: STARTS }, (_, index) => index);
      const failures: string[] = [];
      const done = new AbortController();
      const counts = { create: 0, destroy: 0, discard: 0 };
      const disturb = async () => {
        while (!done.signal.aborted) {
          await sleep(Math.random() * PAUSE_MS);
          const what = (["create", "destroy", "discard"] as const)[Math.floor(Math.random() * 3)] ?? "create";
          counts[what] += 1;
          await (what === "discard" ? discard() : hull(what));
        }
      };
      const worker = async () => {
        for (let index = left.shift(); index !== undefined; index = left.shift()) {
          const flags = ["--runtime-config-path", file];
          const { code, stdout, stderr } = await runner().sh(`echo pod ${index}`, {
            flags,
            timeoutMs: 300_000,
          });
          if (code !== 0 || stdout !== `pod ${index}\n`) failures.push(`pod ${index}: ${code}: ${stderr}`);
        }
      };
      const disturbing = disturb();
      await Promise.all(Array.from({ length: AT_ONCE }, worker)).finally(() => done.abort());
      await disturbing;
      t.diagnostic(`while ${STARTS} pods started: ${JSON.stringify(counts)}`);
      assert.deepEqual(failures, []);
      await hull("create"); // the next builder cleans up what others have left
      await assertNothingLeft();
    });
  },
  ["hull"],
  newestLine(),
);
