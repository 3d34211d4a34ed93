import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildOnce, keyOf } from "../cache.ts";
import { debianPackages } from "../debian/packages.ts";
import { CC, compilerVersion, run, sha256 } from "../run.ts";
import { type Image, ociLayout, type TarEntry } from "./oci-image.ts";

const PAUSE = join(import.meta.dirname, "pause.c");
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD = `root:x:0:0:root:/root:/bin/sh
test:x:1000:1000:test:/home/test:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
`;
const GROUP = `root:x:0:
daemon:x:1:test
test:x:1000:
extra:x:2000:test
nogroup:x:65534:
`;
const SHADOW = `root:*:1:0:99999:7:::
test:*:1:0:99999:7:::
`;

const text = (path: string, content: string, mode = 0o644): TarEntry => ({
  path,
  type: "file",
  mode,
  data: Buffer.from(content),
});
const program = (path: string, file: string): TarEntry => ({
  path,
  type: "file",
  mode: 0o755,
  data: readFileSync(file),
});
const directory = (path: string, mode = 0o755): TarEntry => ({ path: `${path}/`, type: "directory", mode });

/** Returns an image with a static busybox, a hard link for each applet, and a few users. */
function busyboxImage(busybox: string): Image {
  const applets = run(busybox, ["--list"])
    .split("\n")
    .filter((applet) => applet !== "" && applet !== "busybox")
    .sort();
  const directories = ["bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var"];
  const link = { type: "hardlink", mode: 0o755, target: "bin/busybox" } as const;
  return {
    name: "hull.test/busybox:latest",
    files: [
      ...directories.map((path) => directory(path)),
      { ...directory("home/test"), uid: 1000, gid: 1000 },
      directory("root", 0o700),
      directory("tmp", 0o1777),
      text("etc/passwd", PASSWD),
      text("etc/group", GROUP),
      text("etc/shadow", SHADOW, 0o600),
      program("bin/busybox", busybox),
      ...applets.map((applet) => ({ ...link, path: `bin/${applet}` })),
    ],
    config: { Env: [PATH], Cmd: ["sh"] },
  };
}

/** Returns an image for a pod's pause container. */
function pauseImage(pause: string): Image {
  const config = { Env: [PATH], Entrypoint: ["/pause"] };
  return { name: "hull.test/pause:latest", files: [program("pause", pause)], config };
}

/** Returns the path of an OCI layout with the images hull.test/busybox and hull.test/pause, built on first use. */
export function testImages(): string {
  const [debian = ""] = debianPackages("bookworm", ["busybox-static"]);
  const busybox = join(debian, "bin/busybox");
  const recipe = [import.meta.filename, join(import.meta.dirname, "oci-image.ts"), PAUSE, busybox];
  const key = keyOf(...recipe.map((file) => sha256(readFileSync(file))), compilerVersion());
  const directory = buildOnce("test-images", key, (work, result) => {
    const pause = join(work, "pause");
    const warnings = ["-Wall", "-Wextra", "-Werror"];
    run(CC, ["-Os", "-static", "-s", "-Wl,--build-id=none", ...warnings, "-o", pause, PAUSE]);
    writeFileSync(join(result, "images.tar"), ociLayout([busyboxImage(busybox), pauseImage(pause)], "amd64"));
  });
  return join(directory, "images.tar");
}
