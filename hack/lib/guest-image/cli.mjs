// The command line of hack/build-guest.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildGuest } from "./build.mjs";

const USAGE = "usage: build-guest [--out DIR] [--main ENTRY.ts] [--force] [--check-reproducible]";
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

function report(out) {
  const { kernel, crun, agent, vmlinux, initrd } = JSON.parse(
    readFileSync(join(out, "manifest.json"), "utf8"),
  );
  const mib = ({ size }) => `${(size / 2 ** 20).toFixed(1)} MiB`;
  console.log(
    `guest: kernel ${kernel.release} (${mib(vmlinux)}), initrd ${mib(initrd)} with agent ${mib(agent)} and crun ${crun}`,
  );
}

/** Builds twice in two folders and compares. */
function checkReproducible(main) {
  const folders = [1, 2].map(() => mkdtempSync(join(tmpdir(), "hull-guest-check-")));
  try {
    for (const out of folders) buildGuest({ out, force: true, main });
    for (const name of ["vmlinux", "initrd.img", "manifest.json"]) {
      const [first, second] = folders.map((folder) => readFileSync(join(folder, name)));
      if (!first.equals(second)) throw new Error(`${name} differs between two builds of the same inputs`);
    }
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
  console.log("guest: two builds gave the same bytes");
}

try {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: join(ROOT, "dist/guest") },
      main: { type: "string" },
      force: { type: "boolean", default: false },
      "check-reproducible": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
  } else if (values["check-reproducible"]) {
    checkReproducible(values.main);
  } else {
    buildGuest({ out: resolve(values.out), force: values.force, main: values.main && resolve(values.main) });
    report(resolve(values.out));
  }
} catch (error) {
  console.error(`build-guest: ${error.message}`);
  process.exitCode = 1;
}
