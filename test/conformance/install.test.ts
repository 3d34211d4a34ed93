/** hack/install into a directory of its own. Needs root and the build (hack/setup). */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

test("install configures hull in containerd, uninstall reverts it, a dry run changes nothing", (t) => {
  const root = mkdtempSync(join(tmpdir(), "hull-install-"));
  t.after(() => rmSync(root, { recursive: true }));
  const [prefix, containerd] = [join(root, "prefix"), join(root, "etc")];
  const install = (...flags: string[]) =>
    execFileSync("hack/install", [...flags, "--prefix", prefix, "--containerd-dir", containerd], {
      encoding: "utf8",
    });
  const dropIn = join(containerd, "conf.d/hull.toml");

  assert.match(install("--dry-run"), /'mv' .*\/lib\/hull'/);
  assert.ok(!existsSync(prefix) && !existsSync(containerd));

  assert.match(install(), /imports = \[".*\/conf\.d\/\*\.toml"\]/);
  const shim = join(prefix, "bin/containerd-shim-hull-v2");
  assert.match(execFileSync(shim, ["-v"], { encoding: "utf8" }), /\d+\.\d+\.\d+/);
  assert.ok(readFileSync(dropIn, "utf8").includes(`${prefix}/lib/hull/configs/`));
  assert.ok(!readFileSync(dropIn, "utf8").includes("@HULL@"));
  const help = execFileSync(join(prefix, "bin/hull"), ["--help"], { encoding: "utf8", cwd: "/" });
  assert.match(help, /template/);
  const page = join(prefix, "share/man/man1/hull.1");
  assert.match(readFileSync(page, "utf8"), /^\.SH "COMMANDS"$/m);

  install("--uninstall", "--dry-run");
  assert.ok(existsSync(dropIn));
  install("--uninstall");
  install("--uninstall");
  assert.ok(
    !existsSync(shim) && !existsSync(page) && !existsSync(dropIn) && !existsSync(join(prefix, "lib/hull")),
  );
});
