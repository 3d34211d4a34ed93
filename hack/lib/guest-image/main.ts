/** The command line of hack/build-guest and hack/build-kernel. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../run.ts";
import { buildGuest, readManifest } from "./build.ts";
import { debianKernel } from "./debian-kernel.ts";
import type { Kernel } from "./kernel.ts";
import { leanKernel } from "./lean-kernel.ts";
import { SUITE } from "./sources.ts";

const KERNELS: Readonly<Record<string, () => Kernel>> = {
  debian: () => debianKernel(SUITE),
  "debian-6.12": () => debianKernel("trixie"),
  lean: leanKernel,
};
const USAGE = `usage: build-guest [--kernel ${Object.keys(KERNELS).join("|")}] [--out DIR] [--main ENTRY.ts] [--force] [--check-reproducible]`;

function report(out: string): void {
  const { kernel, crun, agent, vmlinux, initrd } = readManifest(out);
  const mib = ({ size }: { size: number }) => `${(size / 2 ** 20).toFixed(1)} MiB`;
  console.log(
    `guest: kernel ${kernel.release} (${mib(vmlinux)}), initrd ${mib(initrd)} with agent ${mib(agent)} and crun ${crun}`,
  );
}

function kernelNamed(name: string): Kernel {
  const make = Object.hasOwn(KERNELS, name) ? KERNELS[name] : undefined;
  if (!make) throw new Error(`unknown kernel ${name}; ${USAGE}`);
  return make();
}

/** Builds twice in different directories and compares the results. */
function checkReproducible(kernel: Kernel, main: string | undefined): void {
  const directories = [1, 2].map(() => mkdtempSync(join(tmpdir(), "hull-guest-check-")));
  try {
    for (const out of directories) buildGuest({ kernel, out, force: true, main });
    for (const name of ["vmlinux", "initrd.img", "manifest.json"]) {
      const [first, second] = directories.map((directory) => readFileSync(join(directory, name)));
      if (!first || !second?.equals(first))
        throw new Error(`${name} differs between two builds of the same inputs`);
    }
  } finally {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  }
  console.log("guest: two builds are identical");
}

try {
  const { values } = parseArgs({
    options: {
      kernel: { type: "string", default: "debian" },
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
    checkReproducible(kernelNamed(values.kernel), values.main);
  } else {
    const kernel = kernelNamed(values.kernel);
    const main = values.main && resolve(values.main);
    buildGuest({ kernel, out: resolve(values.out), force: values.force, main });
    report(resolve(values.out));
  }
} catch (error) {
  console.error(`build-guest: ${(error as Error).message}`);
  process.exitCode = 1;
}
