import { join } from "node:path";
import { debianTree } from "../../hack/lib/debian/tree.ts";

/** The programs of a lab, all of Debian sid: its QEMU emulates SVM best and has an SR-IOV device (igb). */
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
