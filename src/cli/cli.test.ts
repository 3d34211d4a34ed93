import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runCli } from "./cli.ts";

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-cli-"));
  await mkdir(join(root, "etc/hull/config.d"), { recursive: true });
  await put(
    "etc/hull/config.yaml",
    "version: 1\nhypervisor: {default_memory: 300, accel: tcg}\nruntime: {enable_annotations: [hypervisor.default_memory]}\n",
  );
  await put("etc/hull/config.d/10.yaml", "version: 1\nhypervisor: {default_memory: 400}\n");
});
after(async () => {
  await rm(root, { recursive: true, force: true });
});

const put = (file: string, text: string) => writeFile(join(root, file), text, { mode: 0o644 });

async function hull(...words: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const status = await runCli(words, {
    env: { PATH: process.env.PATH },
    installation: join(root, "opt/hull"),
    cwd: root,
    root,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { status, out: out.replaceAll(root, ""), err: err.replaceAll(root, "") };
}

test("paths prints which file is used", async () => {
  assert.deepEqual(await hull("config", "paths"), {
    status: 0,
    err: "",
    out: "/etc/hull/config.yaml: used\n  /etc/hull/config.d/10.yaml: applies\n/usr/share/defaults/hull/config.yaml: not reached\n/opt/hull/configs/qemu.yaml: not reached\n",
  });
});

test("explain prints where a value comes from and what it overrides, for a pod, too", async () => {
  await put(
    "pod.yaml",
    "apiVersion: v1\nmetadata:\n  annotations:\n    io.hull.config.hypervisor.default_memory: '500'\n",
  );
  const { status, out } = await hull("config", "explain", "hypervisor.default_memory", "--pod", "pod.yaml");
  assert.equal(status, 0);
  assert.equal(
    out.split("\n\n")[0],
    "hypervisor.default_memory: 500\n  from annotation io.hull.config.hypervisor.default_memory\n" +
      "  overrides 400 from /etc/hull/config.d/10.yaml:2:14\n  overrides 300 from /etc/hull/config.yaml:2:14\n  overrides 256 from default",
  );
  assert.match(out, /By annotation: allowed\./);
  assert.deepEqual(await hull("config", "explain", "memory"), {
    status: 1,
    out: "",
    err: 'hull: unknown key "memory"\n',
  });
});

test("show prints the configuration, with origins and as JSON", async () => {
  assert.match((await hull("config", "show")).out, /^ {2}default_memory: 400$/m);
  assert.match(
    (await hull("config", "show", "--origin")).out,
    /^ {2}default_memory: 400 +# \/etc\/hull\/config\.d\/10\.yaml:2:14$/m,
  );
  assert.equal(JSON.parse((await hull("config", "show", "--json")).out).hypervisor.default_memory, 400);
  const { out } = await hull("config", "show", "--json", "--origin");
  assert.equal(JSON.parse(out)["hypervisor.default_memory"].origin.position.line, 2);
});

test("validate prints valid, or what is wrong and where", async () => {
  assert.deepEqual(await hull("config", "validate", "etc/hull/config.yaml"), {
    status: 0,
    out: "/etc/hull/config.yaml: valid\n",
    err: "",
  });
  await put("bad.yaml", "version: 1\nagent: {boot_timeout: 10}\n");
  const bad = await hull("config", "validate", "bad.yaml");
  assert.equal(bad.status, 1);
  assert.equal(
    bad.err,
    "hull: configuration refused: /bad.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not 10; add the unit: 10s\n",
  );
  assert.equal((await hull("config", "validate", "none.yaml")).status, 1);
});

test("wrong usage exits with status 2, help and version with 0", async () => {
  assert.equal((await hull("config", "foo")).status, 2);
  assert.deepEqual(await hull("frobnicate"), {
    status: 2,
    out: "",
    err: "hull: unknown command 'frobnicate'\n",
  });
  assert.equal((await hull("config", "explain")).status, 2);
  assert.equal((await hull("config", "default", "--hypervisor", "xen")).status, 2);
  assert.equal((await hull("--help")).status, 0);
  assert.match((await hull("--version")).out, /^hull \d+\.\d+\.\d+\n$/);
});

test("the version is package.json's", async () => {
  const { version } = JSON.parse(
    execFileSync("cat", [join(__dirname, "../../package.json")], { encoding: "utf8" }),
  );
  assert.equal((await hull("version")).out, `hull ${version}\n`);
});

test("check names what is missing and fails", async () => {
  const { status, out } = await hull("check", "--json");
  const { ok, checks } = JSON.parse(out);
  assert.equal(status, 1);
  assert.equal(ok, false);
  const kernel = checks.find(({ name }: { name: string }) => name === "guest kernel");
  assert.deepEqual([kernel.status, kernel.detail], ["fail", "/opt/hull/guest/vmlinux does not exist"]);
  const rootless = checks.find(({ name }: { name: string }) => name === "rootless");
  assert.equal(rootless.status, "fail");
  assert.match(rootless.advice, /hypervisor\.rootless: false/);
  assert.match(
    (await hull("check", "-f", "bad.yaml")).out,
    /^fail {4}configuration: configuration refused: \/bad\.yaml:2:9: /,
  );
});

function complete(...words: string[]): Promise<string[]> {
  return hull("completion", "bash").then(({ out }) => {
    const quoted = ["hull", ...words].map((word) => `'${word}'`).join(" ");
    const script = `${out}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _hull; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
  });
}

test("bash completes commands, options and keys", async () => {
  assert.deepEqual(await complete("conf"), ["config"]);
  assert.deepEqual(await complete("config", "im"), ["import-kata"]);
  assert.deepEqual(await complete("config", "show", "--o"), ["--origin"]);
  assert.deepEqual(await complete("config", "explain", "hypervisor.default_m"), [
    "hypervisor.default_maxvcpus",
    "hypervisor.default_memory",
    "hypervisor.default_maxmemory",
  ]);
  assert.deepEqual(await complete("completion", "z"), ["zsh"]);
});

test("zsh and fish get scripts, another shell an error", async () => {
  assert.match((await hull("completion", "zsh")).out, /^#compdef hull\n/);
  assert.match(
    (await hull("completion", "fish")).out,
    /^complete -c hull -n '__hull_at hull config' -a 'show'/m,
  );
  assert.deepEqual(await hull("completion", "tcsh"), {
    status: 1,
    out: "",
    err: 'hull: no completion for "tcsh"; choose bash, zsh or fish\n',
  });
});
