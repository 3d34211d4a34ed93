import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { buildOnce, keyOf } from "../../hack/lib/cache.ts";
import { debianPackages } from "../../hack/lib/debian/packages.ts";
import { archive, type Entry } from "../../hack/lib/guest-image/cpio.ts";
import { run } from "../../hack/lib/run.ts";
import { type HostKernel, KMOD_ENVIRONMENT } from "./host-kernel.ts";

const INIT = join(import.meta.dirname, "host/init");

/** What the host needs before its root directory is mounted, and what every suite uses: loaded once, before the snapshot. */
const MODULES = [
  ..."virtio_pci virtio_net virtio_rng virtio_blk virtiofs ext4 overlay".split(" "),
  ..."kvm_amd vhost_vsock vhost_net tun bridge veth macvtap loop".split(" "),
];

/** Returns the initrd of the lab's host. */
export function hostInitrd({ release, modules }: HostKernel): string {
  const [busybox = ""] = debianPackages("bookworm", ["busybox-static"]);
  const recipe = [INIT, import.meta.filename].map((path) => readFileSync(path, "utf8"));
  const key = keyOf(basename(busybox), release, ...recipe);
  const built = buildOnce("lab-initrd", key, (_, result) => {
    const files = moduleFiles(modules, release);
    const entries: Entry[] = [
      { name: "init", kind: "file", mode: 0o755, data: readFileSync(INIT) },
      { name: "bin/busybox", kind: "file", mode: 0o755, data: readFileSync(join(busybox, "bin/busybox")) },
      ...["proc", "sys", "dev", "lab", "lower", "upper", "system"].map(
        (name) => ({ name, kind: "directory" }) as const,
      ),
      { name: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
      { name: "modules/order", kind: "file", data: files.map(({ name }) => `${name}\n`).join("") },
      ...files.map(({ name, data }) => ({ name: `modules/${name}`, kind: "file", data }) as const),
    ];
    writeFileSync(join(result, "initrd.img"), archive(entries));
  });
  return join(built, "initrd.img");
}

/** Returns the modules, uncompressed, in their load order. */
function moduleFiles(modules: string, release: string): { name: string; data: Buffer }[] {
  const base = modules.slice(0, modules.indexOf("/lib/modules/"));
  const options = ["-d", base, "-S", release, "--show-depends", "--all"];
  const paths = run("modprobe", [...options, ...MODULES], { env: KMOD_ENVIRONMENT })
    .split("\n")
    .filter((line) => line.startsWith("insmod "))
    .map((line) => line.split(" ")[1] ?? "");
  return [...new Set(paths)].map((path) => ({
    name: basename(path).replace(/\.xz$/, ""),
    data: path.endsWith(".xz") ? xzDecoded(path) : readFileSync(path),
  }));
}

function xzDecoded(path: string): Buffer {
  return Buffer.from(run("xz", ["-dc", path], { encoding: "latin1", maxBuffer: 2 ** 28 }), "latin1");
}
