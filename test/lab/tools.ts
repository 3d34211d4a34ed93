import { join } from "node:path";
import { debianTree } from "../../hack/lib/debian/tree.ts";

/** The programs of a lab, all from Debian sid: its QEMU emulates SVM best and has an SR-IOV device (igb). */
const PROGRAMS = {
  qemu: "usr/bin/qemu-system-x86_64",
  virtiofsd: "usr/libexec/virtiofsd",
  dropbear: "usr/sbin/dropbear",
  dropbearKey: "usr/bin/dropbearkey",
  dbclient: "usr/bin/dbclient",
} as const;

/** The paths of a lab's programs. */
export type Tools = Readonly<Record<keyof typeof PROGRAMS, string>>;

/** Returns the programs of a lab. */
export function labTools(): Tools {
  const packages = ["qemu-system-x86", "virtiofsd", "dropbear-bin"];
  const tree = debianTree("sid", packages, Object.values(PROGRAMS));
  const entries = Object.entries(PROGRAMS).map(([name, path]) => [name, join(tree, path)]);
  return Object.fromEntries(entries) as Tools;
}

/** The suites of the QEMUs that pods in the lab can have, besides this machine's own. */
const QEMU_SUITES = { "10": "trixie", "11": "sid" } as const;

/** A major version of QEMU. */
export type QemuName = keyof typeof QEMU_SUITES;

/** The names of the QEMUs. */
export const QEMUS = Object.keys(QEMU_SUITES) as QemuName[];

/** Where a QEMU for pods is mounted in the emulated host: pods' users may not enter the cache. */
export const qemuMountPoint = (name: QemuName): string => `/opt/qemu-${name}`;

/** Returns the directory of a QEMU for pods, to be mounted at its mount point. */
export function podQemu(name: QemuName): string {
  return debianTree(QEMU_SUITES[name], ["qemu-system-x86"], [PROGRAMS.qemu], qemuMountPoint(name));
}
