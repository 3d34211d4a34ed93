// The shared libraries that a program needs, found in extracted Debian packages instead of on this machine.
import { execFileSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";

const FOLDERS = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64"];

/** NEEDED entries and the interpreter of an ELF file. */
function needs(path) {
  const text = execFileSync("readelf", ["--wide", "-d", "-l", path], {
    encoding: "utf8",
    env: { LC_ALL: "C", PATH: process.env.PATH },
  });
  const libraries = [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]);
  const interpreter = /program interpreter: (.+)\]/.exec(text)?.[1];
  return { libraries, interpreter };
}

/**
 * @param {string} program path of an ELF file
 * @param {string[]} roots where packages lie extracted
 * @param {Record<string, string>} substitutes soname -> file that takes the library's place
 * @returns {Map<string, string>} path in the guest (no leading slash) -> file here
 */
export function librariesOf(program, roots, substitutes = {}) {
  const found = new Map();
  const locate = (name) => {
    for (const root of roots) {
      for (const folder of FOLDERS) {
        const path = join(root, folder, name);
        if (existsSync(path)) return realpathSync(path);
      }
    }
    throw new Error(
      `${program}: library ${name} is in none of the packages of guest-agent/image/packages.list`,
    );
  };
  const visit = (path) => {
    const { libraries, interpreter } = needs(path);
    if (interpreter) found.set(interpreter.slice(1), locate(interpreter.split("/").at(-1)));
    for (const name of libraries) {
      if (name.startsWith("ld-linux")) continue;
      // The first folder that the loader of Debian looks into.
      const target = `lib/x86_64-linux-gnu/${name}`;
      if (found.has(target)) continue;
      const file = substitutes[name] ?? locate(name);
      found.set(target, file);
      visit(file);
    }
  };
  visit(program);
  return found;
}
