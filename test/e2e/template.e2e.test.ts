/** Pods cloned from a template: the same programs, but nothing in common that identifies them. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { TemplateStore } from "../../src/template/store.ts";
import type { CtrResult } from "../testkit/ctr.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

/** Prints everything random or unique in a guest. */
const IDENTITY =
  "cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | od -An -tx1; hostname";

forEveryRunner(
  "template",
  (runner) => {
    let root = "";
    let config = "";
    let templates = "";

    before(async () => {
      root = await mkdtemp("/dev/shm/hull-e2e-template-");
      templates = join(root, "templates");
      config = join(root, "qemu.yaml");
      await writeConfig(config, { hypervisor: { template: { enable: true, template_path: templates } } });
    });
    after(() => rm(root, { recursive: true, force: true }));

    const sh = (script: string, file = config) =>
      runner().sh(script, { flags: ["--runtime-config-path", file], timeoutMs: 120_000 });
    const assertOk = (result: CtrResult) => assert.equal(result.code, 0, result.stderr);
    const keys = async () => (await readdir(templates)).filter((name) => /^[0-9a-f]{32}$/.test(name)).sort();

    it("starts five pods at once from one template, and no two of them share a random number", async () => {
      const results = await Promise.all(Array.from({ length: 5 }, () => sh(IDENTITY)));
      for (const result of results) assertOk(result);
      const lines = results.flatMap(({ stdout }) => stdout.trimEnd().split("\n"));
      assert.equal(lines.length, 20);
      assert.equal(new Set(lines).size, 20, lines.join("\n"));
      assert.equal((await keys()).length, 1);
    });

    it("sets a clone's clock to the host's", async () => {
      const result = await sh("date +%s");
      assertOk(result);
      assert.ok(Math.abs(Number(result.stdout) - Date.now() / 1000) < 30, result.stdout);
    });

    it("replaces a truncated template", async () => {
      const [key = ""] = await keys();
      const state = join(templates, key, "state");
      await truncate(state, 1000);
      assertOk(await sh("true"));
      assert.deepEqual(await keys(), [key]);
      assertOk(await sh("true"));
    });

    it("starts pods while their template is discarded again and again", async () => {
      const store = new TemplateStore(templates);
      let busy = true;
      const discarding = (async () => {
        for (; busy; await new Promise((resolve) => setTimeout(resolve, 50)))
          for (const key of await keys()) await store.discard(key);
      })();
      const results = await Promise.all(Array.from({ length: 3 }, () => sh("echo up"))).finally(() => {
        busy = false;
      });
      await discarding;
      for (const result of results) assertOk(result);
      assertOk(await sh("true"));
      assert.equal((await keys()).length, 1);
    });

    it("builds another template for a different VM", async () => {
      const other = join(root, "other.yaml");
      const hypervisor = { template: { enable: true, template_path: templates }, default_memory: 160 };
      await writeConfig(other, { hypervisor });
      const result = await sh("grep MemTotal /proc/meminfo", other);
      assertOk(result);
      const [, kib = "0"] = /(\d+) kB/.exec(result.stdout) ?? [];
      assert.ok(Number(kib) < 160 * 1024, result.stdout);
      assert.equal((await keys()).length, 2);
    });
  },
  ["hull"],
  newestLine(),
);
