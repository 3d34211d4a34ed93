// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";
import {
  decode,
  encode,
  equal,
  openDescriptors,
  readAll,
  runAll,
  scratch,
  sleep,
  test,
  throwsCode,
  writeAll,
} from "./harness.ts";

test("a Unix socket has its mode, and can be connected, accepted and half-closed", async () => {
  const path = `${scratch()}/s`;
  const before = openDescriptors();
  const listener = sys.unixListen(path, 8, 0o600);
  equal(sys.stat(path).mode & 0o777, 0o600);
  equal(sys.accept(listener), -1);
  const client = sys.unixConnect(path);
  const server = sys.accept(listener);
  await writeAll(client, encode("ping"));
  sys.shutdown(client, sys.SHUT_WR);
  equal(decode(await readAll(server)), "ping");
  await writeAll(server, encode("pong"));
  sys.close(server);
  equal(decode(await readAll(client)), "pong");
  equal(sys.socketError(client), 0);
  sys.close(client);
  sys.close(listener);
  equal(openDescriptors(), before);
});

test("failing socket calls leave no descriptor open", () => {
  const before = openDescriptors();
  const directory = scratch();
  throwsCode("ENAMETOOLONG", () => sys.unixListen(`${directory}/${"x".repeat(108)}`, 1, 0o600));
  throwsCode("ENOENT", () => sys.unixConnect(`${directory}/none`));
  const listener = sys.unixListen(`${directory}/s`, 1, 0o600);
  throwsCode("EADDRINUSE", () => sys.unixListen(`${directory}/s`, 1, 0o600));
  sys.close(listener);
  throwsCode("ECONNREFUSED", () => sys.unixConnect(`${directory}/s`));
  equal(openDescriptors(), before);
});

test("only a vsock connection has a context id", () => {
  const path = `${scratch()}/s`;
  const listener = sys.unixListen(path, 1, 0o600);
  throwsCode("ENOTCONN", () => sys.peerCid(listener));
  const client = sys.unixConnect(path);
  throwsCode("EAFNOSUPPORT", () => sys.peerCid(client));
  sys.close(client);
  throwsCode("EBADF", () => sys.peerCid(client));
  sys.close(listener);
});

test("a full backlog is EAGAIN, not a wait", () => {
  const path = `${scratch()}/s`;
  const listener = sys.unixListen(path, 0, 0o600);
  const first = sys.unixConnect(path);
  throwsCode("EAGAIN", () => sys.unixConnect(path));
  sys.close(first);
  sys.close(listener);
});

test("receiveFd fails on a message without a descriptor and at the end of the stream", async () => {
  const path = `${scratch()}/s`;
  const listener = sys.unixListen(path, 1, 0o600);
  const client = sys.unixConnect(path);
  const server = sys.accept(listener);
  equal(sys.receiveFd(server), -1);
  await writeAll(client, encode("no descriptor"));
  throwsCode("EBADMSG", () => sys.receiveFd(server));
  sys.close(client);
  await sleep(1);
  throwsCode("ECONNRESET", () => sys.receiveFd(server));
  sys.close(server);
  sys.close(listener);
});

test("receiveFd returns a descriptor", async () => {
  // The runner passes a program that sends its standard input over the socket named by its argument.
  const path = `${scratch()}/s`;
  const listener = sys.unixListen(path, 1, 0o600);
  const [read, write] = sys.pipe();
  const pid = sys.spawn({ argv: [sys.argv()[2] ?? "", path], fds: [write, -1, 2] });
  const server = await new Promise<number>((resolve) => {
    sys.watch(listener, { read: true }, () => {
      sys.unwatch(listener);
      resolve(sys.accept(listener));
    });
  });
  const received = await new Promise<number>((resolve) => {
    sys.watch(server, { read: true }, () => {
      sys.unwatch(server);
      resolve(sys.receiveFd(server));
    });
  });
  sys.close(write);
  await writeAll(received, encode("through the received end"));
  sys.close(received);
  equal(decode(await readAll(read)), "through the received end");
  while (sys.waitpid(pid) === null) await sleep(2);
  for (const fd of [read, server, listener]) sys.close(fd);
});

await runAll();
