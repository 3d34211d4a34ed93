// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";
import { check, decode, encode, equal, runAll, scratch, test, throwsCode } from "./harness.ts";

test("a written file can be read", () => {
  const path = `${scratch()}/file`;
  sys.writeFile(path, "grüße\n");
  equal(decode(sys.readFile(path)), "grüße\n");
  sys.writeFile(path, encode("x"));
  equal(decode(sys.readFile(path)), "x");
  sys.writeFile(path, new Uint8Array(0));
  equal(sys.readFile(path).length, 0);
  equal(sys.stat(path).mode & 0o7777, 0o600);
});

test("a file above the read limit is refused", () => {
  const path = `${scratch()}/file`;
  sys.writeFile(path, new Uint8Array(10_000));
  equal(sys.readFile(path, 10_000).length, 10_000);
  throwsCode("EFBIG", () => sys.readFile(path, 9_999));
  throwsCode("EFBIG", () => sys.readFile("/dev/zero"));
});

test("files of procfs, whose size is 0, are read", () => {
  check(decode(sys.readFile("/proc/self/status")).includes("VmRSS"), "no VmRSS");
});

test("errors name call, path and code", () => {
  const error = throwsCode("ENOENT", () => sys.open("/nothing/here", sys.O_RDONLY));
  equal(error.errno, 2);
  equal(error.message, "open /nothing/here: No such file or directory");
  throwsCode("EINVAL", () => sys.open("a\0b", sys.O_RDONLY));
});

test("directories and symlinks are created, listed, renamed and removed", () => {
  const directory = scratch();
  sys.mkdirp(`${directory}/a/b/c`, 0o700);
  sys.mkdirp(`${directory}/a/b/c`);
  throwsCode("EEXIST", () => sys.mkdir(`${directory}/a`));
  sys.writeFile(`${directory}/a/f`, "");
  throwsCode("ENOTDIR", () => sys.mkdirp(`${directory}/a/f/g`));
  throwsCode("EEXIST", () => sys.mkdirp(`${directory}/a/f`));
  sys.symlink("f", `${directory}/a/l`);
  equal(sys.readlink(`${directory}/a/l`), "f");
  equal(sys.readdir(`${directory}/a`).sort(), ["b", "f", "l"]);
  sys.rename(`${directory}/a/f`, `${directory}/a/g`);
  throwsCode("ENOENT", () => sys.stat(`${directory}/a/l`));
  equal(sys.lstat(`${directory}/a/l`).mode & 0o170000, 0o120000);
  sys.chmod(`${directory}/a/g`, 0o640);
  equal(sys.stat(`${directory}/a/g`).mode & 0o777, 0o640);
  sys.mkfifo(`${directory}/p`, 0o600);
  equal(sys.stat(`${directory}/p`).mode & 0o170000, 0o010000);
  throwsCode("ENOTEMPTY", () => sys.rmdir(directory));
  sys.unlink(`${directory}/p`);
});

test("descriptors are close-on-exec", () => {
  const fd = sys.open("/dev/null", sys.O_RDONLY);
  check(/^flags:\t0*2\d{6}$/m.test(decode(sys.readFile(`/proc/self/fdinfo/${fd}`))), "no O_CLOEXEC");
  sys.close(fd);
  throwsCode("EBADF", () => sys.close(fd));
});

test("inotify reports changes", () => {
  const directory = scratch();
  const fd = sys.inotify(directory, sys.IN_CREATE);
  const buffer = new Uint8Array(4096);
  equal(sys.read(fd, buffer, 0, 4096), -1);
  sys.writeFile(`${directory}/x`, "");
  check(sys.read(fd, buffer, 0, 4096) > 0, "no event");
  sys.close(fd);
});

test("random bytes differ", () => {
  equal(sys.random(0).length, 0);
  const [a, b] = [sys.random(32), sys.random(32)];
  equal(a.length, 32);
  check(a.join() !== b.join(), "equal");
});

await runAll();
