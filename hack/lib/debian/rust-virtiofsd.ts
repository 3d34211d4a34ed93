import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { buildOnce } from "../cache.ts";
import { run } from "../run.ts";
import { debianPackages } from "./packages.ts";

/** Returns the path of Debian 13's virtiofsd in Rust, with that release's C library, so that it runs on Debian 12. */
export function rustVirtiofsd(): string {
  const [daemon = "", libc = ""] = debianPackages("trixie", ["virtiofsd", "libc6"]);
  const directory = buildOnce("rust-virtiofsd", `${basename(daemon)}+${basename(libc)}`, (_, result) => {
    const [patchelf = ""] = debianPackages("bookworm", ["patchelf"]);
    const library = join(libc, "usr/lib/x86_64-linux-gnu");
    const loader = readdirSync(library).find((name) => name.startsWith("ld-linux-"));
    if (!loader) throw new Error(`${library} has no dynamic loader`);
    const change = ["--set-interpreter", join(library, loader), "--set-rpath", library];
    const files = ["--output", join(result, "virtiofsd"), join(daemon, "usr/libexec/virtiofsd")];
    run(join(patchelf, "usr/bin/patchelf"), [...change, ...files]);
  });
  return join(directory, "virtiofsd");
}
