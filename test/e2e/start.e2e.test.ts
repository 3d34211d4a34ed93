/** The shim's command line, called as containerd does, but with input that containerd would not send. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { assertNoLeaks, type LeakScope, snapshot } from "../testkit/leaks.ts";
import { DIST } from "./hull-config.ts";

const SHIM = join(DIST, "bin/containerd-shim-hull-v2");

interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe("containerd-shim-hull-v2", () => {
  const namespace = `e2e-start-${process.pid}`;
  let directory = "";
  let clean = new Set<string>();
  const scope = (): LeakScope => ({ namespace, directory });

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "hull-start-"));
    clean = await snapshot(scope());
  });
  after(() => rm(directory, { recursive: true, force: true }));

  /** Calls the shim in a bundle with `files`, with closed stdin, and waits until it has closed its output. */
  async function shim(id: string, action: string, files: Record<string, string> = {}): Promise<Answer> {
    const bundle = await mkdtemp(join(directory, "bundle-"));
    await mkdir(join(bundle, "rootfs"));
    for (const [name, text] of Object.entries(files)) await writeFile(join(bundle, name), text);
    const args = [
      "-namespace",
      namespace,
      "-address",
      join(directory, "none.sock"),
      "-publish-binary",
      "",
      "-id",
      id,
    ];
    const child = spawn(SHIM, [...args, ...(action === "delete" ? ["-bundle", bundle] : []), action], {
      cwd: bundle,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("latin1").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const [code] = (await once(child, "close")) as [number | null];
    return { code, stdout, stderr };
  }

  for (const id of ["../escape", "a/b", "..", ".", "", "-x y", "a".repeat(300)]) {
    it(`refuses to start the id ${JSON.stringify(id.slice(0, 20))}`, async () => {
      const { code, stdout, stderr } = await shim(id, "start", { "config.json": "{}" });
      assert.ok(code !== null && code !== 0, `status ${code}: ${stdout}${stderr}`);
      assert.match(stdout + stderr, /id/);
      await assertNoLeaks(clean, scope());
    });

    it(`deletes nothing for the id ${JSON.stringify(id.slice(0, 20))}`, async () => {
      const { code, stdout } = await shim(id, "delete");
      assert.ok(code !== null && code !== 0, `status ${code}`);
      assert.equal(stdout, "");
      await assertNoLeaks(clean, scope());
    });
  }

  for (const [what, files] of [
    ["is garbage", { "config.json": "\u0000 not JSON {" }],
    ["is a JSON array", { "config.json": "[]" }],
  ] as const) {
    it(`fails to start when config.json ${what}`, async () => {
      const { code, stdout, stderr } = await shim("garbage", "start", files);
      assert.ok(code !== null && code !== 0, `status ${code}: ${stdout}${stderr}`);
      assert.match(stdout + stderr, /config\.json/);
      await assertNoLeaks(clean, scope());
    });
  }

  it("deletes an unknown id, twice, with an answer on stdout and nothing on stderr", async () => {
    for (let time = 0; time < 2; time += 1) {
      const { code, stdout, stderr } = await shim("never", "delete", { "config.json": "{}" });
      assert.equal(code, 0, stderr);
      assert.equal(stderr, "");
      // DeleteResponse: pid 0 is left out; field 2 (0x10), the exit status, is 137 as a varint.
      assert.ok(stdout.startsWith("\x10\x89\x01"), JSON.stringify(stdout));
      await assertNoLeaks(clean, scope());
    }
  });

  it("prints its version", async () => {
    const child = spawn(SHIM, ["-v"], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 0);
    assert.match(text, /hull.*\d+\.\d+\.\d+/s);
  });
});
