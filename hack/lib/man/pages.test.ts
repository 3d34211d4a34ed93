import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { commandTree } from "../../../src/cli/command-tree.ts";
import { KEYS } from "../../../src/config/schema/schema.ts";
import { flagList } from "../../../src/shim/bootstrap/flags.ts";
import { manPages } from "./pages.ts";

/** Returns a page's source by its file name, without escapes. */
function source(file: string): string {
  const text = manPages().get(file);
  assert.ok(text, file);
  return text.replaceAll("\\-", "-").replace(/\\f[BIR]/g, "");
}

test("every page has the sections that a manual page needs, and only requests of man(7)", () => {
  assert.equal(manPages().size, 3);
  for (const [file, text] of manPages()) {
    const lines = text.split("\n");
    assert.match(lines[0] ?? "", /^\.TH [A-Z0-9\\-]+ [158] "" "hull \d+\.\d+\.\d+" "hull manual"$/);
    const sections = lines.flatMap((line) => /^\.SH "(.*)"$/.exec(line)?.[1] ?? []);
    assert.deepEqual(sections.slice(0, 3), ["NAME", "SYNOPSIS", "DESCRIPTION"], file);
    assert.equal(sections.at(-1), "SEE ALSO", file);
    assert.equal(new Set(sections).size, sections.length, file);
    for (const line of lines) {
      if (/^[.']/.test(line))
        assert.match(line, /^\.(TH|SH|SS|PP|TP|IP|RS|RE|EX|EE|PD)( |$)/, `${file}: ${line}`);
    }
  }
});

test("hull(1) has every command with its options", () => {
  const page = source("man1/hull.1");
  const print = () => undefined;
  const walk = (command: ReturnType<typeof commandTree>, name: string): void => {
    for (const child of command.commands) {
      const fullName = `${name} ${child.name()}`;
      const [, section = ""] = page.split(`.SS "${fullName}`);
      assert.ok(section.includes(child.description()), fullName);
      for (const { long } of child.options)
        assert.ok(section.split(/^\.S[SH] /m)[0]?.includes(`${long}`), fullName);
      walk(child, fullName);
    }
  };
  walk(commandTree({ env: {}, installation: "", cwd: "/", out: print, err: print }, print), "hull");
});

test("hull-config(5) has every key", () => {
  const page = source("man5/hull-config.5");
  assert.ok(KEYS.size > 0);
  for (const name of KEYS.keys()) assert.ok(page.includes(`.SS "${name}"\n`), name);
});

test("containerd-shim-hull-v2(8) has every flag", () => {
  const page = source("man8/containerd-shim-hull-v2.8");
  for (const { usage, about } of flagList()) {
    assert.ok(page.includes(`.TP\n${usage}\n${about.charAt(0).toUpperCase()}${about.slice(1)}.`), usage);
  }
});

test("groff prints no warning about any page", (t) => {
  if (spawnSync("groff", ["--version"]).error) return t.skip("groff is not installed");
  for (const [file, text] of manPages()) {
    const options = { input: text, encoding: "utf8" } as const;
    const { status, stderr } = spawnSync("groff", ["-man", "-ww", "-Tascii", "-z"], options);
    assert.deepEqual([status, stderr], [0, ""], file);
  }
});
