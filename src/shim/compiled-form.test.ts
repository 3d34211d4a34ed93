import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { keepCompiledForm, keptFormPath, readKeptForm } from "./compiled-form.ts";

const LIB = join(import.meta.dirname, "../../dist/lib");

function workDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "hull-form-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("a form is kept in a directory that only its owner may enter", (context) => {
  const path = join(workDirectory(context), "code/one");
  assert.equal(readKeptForm(path), undefined);
  keepCompiledForm({ path, data: () => Buffer.from("form") });
  assert.equal(readKeptForm(path)?.toString(), "form");
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(dirname(path)), ["one"]);
});

test("a directory that others may write, and a symlink in its place, are neither read nor written", (context) => {
  const work = workDirectory(context);
  const path = join(work, "code/one");
  const form = { path, data: () => Buffer.from("form") };
  keepCompiledForm(form);
  symlinkSync("code", join(work, "link"));
  assert.equal(readKeptForm(join(work, "link/one")), undefined);
  keepCompiledForm({ ...form, path: join(work, "link/two") });
  chmodSync(dirname(path), 0o777);
  assert.equal(readKeptForm(path), undefined);
  keepCompiledForm({ ...form, path: join(work, "code/two") });
  assert.deepEqual(readdirSync(dirname(path)), ["one"]);
});

test("a file in place of the directory fails nothing", (context) => {
  const work = workDirectory(context);
  writeFileSync(join(work, "code"), "");
  keepCompiledForm({ path: join(work, "code/one"), data: () => Buffer.from("form") });
  assert.equal(readKeptForm(join(work, "code/one")), undefined);
});

test("forms of old builds are removed", (context) => {
  const directory = join(workDirectory(context), "code");
  for (let build = 0; build < 20; build++) {
    keepCompiledForm({ path: join(directory, `build-${build}`), data: () => Buffer.from("form") });
    assert.ok(readdirSync(directory).length <= 4);
  }
  assert.ok(readdirSync(directory).includes("build-19"));
});

test("a form that cannot be kept leaves nothing and fails nothing", (context) => {
  const path = join(workDirectory(context), "code/one");
  mkdirSync(path, { recursive: true });
  keepCompiledForm({ path, data: () => Buffer.from("form") });
  assert.deepEqual(readdirSync(dirname(path)), ["one"]);
});

test("a bundle that was replaced has another form", (context) => {
  const bundle = join(workDirectory(context), "bundle.cjs");
  writeFileSync(bundle, "1");
  utimesSync(bundle, new Date(0), new Date(0));
  const first = keptFormPath(bundle);
  assert.equal(keptFormPath(bundle), first);
  // In place, with the size and the time that a package has set.
  const { atime, mtime } = statSync(bundle);
  writeFileSync(bundle, "2");
  utimesSync(bundle, atime, mtime);
  assert.equal(statSync(bundle).mtimeMs, mtime.getTime());
  assert.notEqual(keptFormPath(bundle), first);
  assert.ok(first.includes(process.version));
});

/** A bundle that runs a function that loading it does not run, and keeps its form as the daemon does. */
const BUNDLE = `(function (exports, require, module, __filename, __dirname, compiledForm) {
  const fs = require("node:fs"), path = require("node:path");
  function used() { return ${JSON.stringify("long ".repeat(1000))}.length; }
  used();
  console.log(compiledForm === undefined ? "from the kept form" : "from the build's");
  if (!compiledForm) return;
  fs.mkdirSync(path.dirname(compiledForm.path), { recursive: true, mode: 0o700 });
  fs.writeFileSync(compiledForm.path, process.argv[2] === "damaged" ? "damaged" : compiledForm.data());
})`;

test("a shim starts from the form that an earlier one kept, and replaces one that V8 rejects", {
  skip: process.geteuid?.() !== 0 && "needs root, which owns /run/hull",
}, (context) => {
  const lib = workDirectory(context);
  copyFileSync(join(LIB, "shim.cjs"), join(lib, "shim.cjs"));
  writeFileSync(join(lib, "hull-shim.cjs"), BUNDLE);
  const path = keptFormPath(join(lib, "hull-shim.cjs"));
  context.after(() => rmSync(path, { force: true }));
  const shim = (how: string) =>
    execFileSync(join(LIB, "node"), [join(lib, "shim.cjs"), how], { encoding: "utf8" }).trim();
  assert.equal(shim("damaged"), "from the build's");
  assert.equal(shim("whole"), "from the build's");
  assert.equal(shim("whole"), "from the kept form");
});
