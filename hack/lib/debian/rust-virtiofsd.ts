import { join } from "node:path";
import { debianTree } from "./tree.ts";

/** Returns the path of Debian 13's virtiofsd in Rust, with that release's libraries, so that it runs on Debian 12. */
export function rustVirtiofsd(): string {
  const program = "usr/libexec/virtiofsd";
  return join(debianTree("trixie", ["virtiofsd"], [program]), program);
}
