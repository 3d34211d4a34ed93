// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";
import {
  check,
  checksum,
  decode,
  encode,
  equal,
  openDescriptors,
  pattern,
  readAll,
  runAll,
  scratch,
  sleep,
  test,
  writeAll,
} from "./harness.ts";

type Result = [bytes: number, errno: number];
const EPIPE = 32;

function relay(source: number, target: number, drain = false): Promise<Result> {
  return new Promise(
    (resolve) => void sys.relay(source, target, drain, (bytes, errno) => resolve([bytes, errno])),
  );
}

function socketPair(): [number, number] {
  const path = `${scratch()}/s`;
  const listener = sys.unixListen(path, 1, 0o600);
  const client = sys.unixConnect(path);
  const server = sys.accept(listener);
  sys.close(listener);
  return [client, server];
}

function closeAll(...fds: number[]): void {
  for (const fd of fds) sys.close(fd);
}

type Ends = { write: number; source: number; target: number; read: number };

const shapes: Record<string, () => Ends> = {
  "pipe to pipe": () => {
    const [source, write] = sys.pipe();
    const [read, target] = sys.pipe();
    return { write, source, target, read };
  },
  "pipe to socket": () => {
    const [source, write] = sys.pipe();
    const [target, read] = socketPair();
    return { write, source, target, read };
  },
  "socket to pipe": () => {
    const [write, source] = socketPair();
    const [read, target] = sys.pipe();
    return { write, source, target, read };
  },
  "socket to socket": () => {
    const [write, source] = socketPair();
    const [target, read] = socketPair();
    return { write, source, target, read };
  },
};

const data = pattern(10 * 2 ** 20 + 12_345);
const sum = checksum(data);

for (const [name, make] of Object.entries(shapes)) {
  test(`${name}: 10 MiB pass unchanged`, async () => {
    const before = openDescriptors();
    const { write, source, target, read } = make();
    const moved = relay(source, target);
    const got = readAll(read);
    await writeAll(write, data);
    sys.close(write);
    equal(await moved, [data.length, 0]);
    closeAll(source, target);
    equal(checksum(await got), sum);
    sys.close(read);
    equal(openDescriptors(), before);
  });

  test(`${name}: if the target closes, the relay ends with an error and leaves the source alone`, async () => {
    const { write, source, target, read } = make();
    const moved = relay(source, target);
    sys.close(read);
    const [, errno] = await moved;
    equal(errno, EPIPE);
    closeAll(write, source, target);
  });

  test(`${name}: if the target closes, the source is drained on request`, async () => {
    const { write, source, target, read } = make();
    const moved = relay(source, target, true);
    sys.close(read);
    await writeAll(write, data.subarray(0, 2 ** 20));
    sys.close(write);
    const [, errno] = await moved;
    equal(errno, EPIPE);
    closeAll(source, target);
  });

  test(`${name}: both ends close while bytes are in flight`, async () => {
    const { write, source, target, read } = make();
    const moved = relay(source, target);
    // Fill both sides, then close them.
    for (let i = 0; i < 20; i++) {
      sys.write(write, data, 0, 65536);
      await sleep(0);
    }
    closeAll(write, read);
    const [, errno] = await moved;
    equal(errno, EPIPE);
    closeAll(source, target);
  });
}

test("a stopped relay calls nothing and moves nothing more", async () => {
  const before = openDescriptors();
  const [source, write] = sys.pipe();
  const [read, target] = sys.pipe();
  let called = false;
  const id = sys.relay(source, target, false, () => {
    called = true;
  });
  await writeAll(write, encode("one"));
  await sleep(3);
  sys.stopRelay(id);
  sys.stopRelay(id);
  await writeAll(write, encode("two"));
  await sleep(3);
  const buffer = new Uint8Array(16);
  equal(sys.read(read, buffer, 0, 16), 3);
  equal(sys.read(source, buffer, 0, 16), 3);
  equal(called, false);
  closeAll(source, write, read, target);
  equal(openDescriptors(), before);
});

test("an idle relay does not spin", async () => {
  const { write, source, target, read } = (shapes["pipe to socket"] as () => Ends)();
  // The target is full and the source has hung up: epoll would report that endlessly.
  const moved = relay(source, target);
  let written = 0;
  for (let quiet = 0; quiet < 5; quiet++) {
    const count = sys.write(write, data, written, 65536);
    if (count > 0) {
      written += count;
      quiet = 0;
    }
    await sleep(1);
  }
  sys.close(write);
  const ticks = (): number => {
    const fields = decode(sys.readFile("/proc/self/stat")).split(" ");
    return Number(fields[13]) + Number(fields[14]);
  };
  const before = ticks();
  await sleep(200);
  check(ticks() - before <= 5, `used ${ticks() - before} ticks of 10 ms in 200 ms`);
  const got = readAll(read);
  equal(await moved, [written, 0]);
  closeAll(source, target);
  equal(checksum(await got), checksum(data.subarray(0, written)));
  sys.close(read);
});

test("regular files and /dev/null can be relayed", async () => {
  const directory = scratch();
  sys.writeFile(`${directory}/in`, data);
  const source = sys.open(`${directory}/in`, sys.O_RDONLY);
  const target = sys.open(`${directory}/out`, sys.O_WRONLY | sys.O_CREAT);
  equal(await relay(source, target), [data.length, 0]);
  equal(checksum(sys.readFile(`${directory}/out`, 2 ** 25)), sum);
  closeAll(source, target);
  const [read, write] = sys.pipe();
  const nothing = sys.open("/dev/null", sys.O_WRONLY);
  const moved = relay(read, nothing);
  await writeAll(write, data);
  sys.close(write);
  equal(await moved, [data.length, 0]);
  closeAll(read, nothing);
});

test("a terminal is relayed in both directions at once, and its close is an end of file", async () => {
  const TIOCGPTPEER = 0x5441;
  const O_NOCTTY = 0o400;
  const master = sys.open("/dev/ptmx", sys.O_RDWR | sys.O_NONBLOCK | O_NOCTTY);
  const unlock = sys.spawn({ argv: [sys.argv()[3] ?? ""], fds: [master, -1, 2] });
  while (sys.waitpid(unlock) === null) await sleep(1);
  const slave = sys.ioctl(master, TIOCGPTPEER, sys.O_RDWR | O_NOCTTY);
  sys.setWindowSize(master, 132, 43);
  const [host, guest] = socketPair();
  const out = relay(master, guest);
  const input = relay(guest, master);
  const child = sys.spawn({
    argv: ["/bin/sh", "-c", "stty size; read line; echo got $line"],
    env: ["PATH=/bin:/usr/bin"],
    fds: [slave, slave, slave],
    setsid: true,
  });
  sys.close(slave);
  await writeAll(host, encode("hello\n"));
  const text = readAll(host);
  equal((await out)[1], 0);
  while (sys.waitpid(child) === null) await sleep(1);
  sys.shutdown(guest, sys.SHUT_WR);
  const seen = decode(await text);
  check(seen.includes("43 132"), seen);
  check(seen.includes("got hello"), seen);
  sys.close(host);
  await input;
  closeAll(guest, master);
});

await runAll();
