import assert from "node:assert/strict";
import { it } from "node:test";
import { FakeGuest } from "../../../test/testkit/guest-agent/fake-guest.ts";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { sysError } from "../../../test/testkit/guest-agent/sys-error.ts";
import { ForwardListener } from "../forward/forward-listener.ts";
import { StreamListener } from "../stdio/stream-listener.ts";
import { TokenTable } from "../stdio/tokens.ts";
import { Listener } from "./listener.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
/** VMADDR_CID_LOCAL, and the context id of another VM (vsock(7)). */
const STRANGERS = [1, 5];

function listening() {
  const fake = new FakeSys();
  const fd = fake.listen();
  const accepted: number[] = [];
  const lines: string[] = [];
  const listener = new Listener(
    fake.sys,
    fd,
    (connection) => accepted.push(connection),
    (level, text) => lines.push(`${level}: ${text}`),
  );
  return { fake, fd, accepted, lines, listener };
}

it("a listener accepts connections from the host only, and logs others once", async () => {
  const { fake, fd, accepted, lines } = listening();
  const strangers = [...STRANGERS, ...STRANGERS].map((cid) => fake.dial(fd, cid));
  const host = fake.dial(fd);
  await fake.settle();
  assert.deepEqual(
    strangers.map((file) => file.input?.writers),
    [0, 0, 0, 0],
  );
  assert.equal(accepted.length, 1);
  assert.equal(host.input?.writers, 1);
  assert.deepEqual(lines, ["warn: vsock: closed a connection of context id 1, which is not the host"]);
});

it("a listener ignores a peer that has closed before accept", async () => {
  const { fake, fd, accepted, lines } = listening();
  fake.hangUp(fake.dial(fd));
  fake.dial(fd);
  await fake.settle();
  assert.deepEqual([accepted.length, lines], [1, []]);
});

it("every port of the agent closes connections from other peers than the host", async () => {
  const guest = new FakeGuest();
  const { fake } = guest;
  const forward = fake.listen();
  new ForwardListener(fake.sys, forward, () => undefined).allow(TOKEN);
  for (const port of [guest.listeners.agent, guest.listeners.stdio, forward]) {
    const before = fake.openFds;
    const [stranger, host] = [fake.dial(port, STRANGERS[0]), fake.dial(port)];
    await fake.settle();
    assert.deepEqual([stranger.input?.writers, host.input?.writers, fake.openFds], [0, 1, before + 1]);
  }
});

for (const error of ["EMFILE", "ENFILE", "ENOMEM"]) {
  it(`a listener does not spin while accept fails with ${error}, and accepts pending connections afterwards`, async () => {
    const { fake, fd, accepted, lines } = listening();
    fake.acceptFails = error;
    fake.dial(fd);
    for (let turn = 0; turn < 20; turn++) fake.turn();
    assert.equal(fake.accepts, 1);
    for (let again = 0; again < 5; again++) {
      fake.advance(100);
      for (let turn = 0; turn < 20; turn++) fake.turn();
    }
    assert.equal(fake.accepts, 6);
    assert.equal(lines.length, 1);
    fake.acceptFails = undefined;
    fake.advance(100);
    await fake.settle();
    assert.equal(accepted.length, 1);
  });
}

it("a listener that is closed during a pause leaves nothing behind", () => {
  const { fake, fd, listener } = listening();
  fake.acceptFails = "EMFILE";
  fake.dial(fd);
  fake.turn();
  listener.close();
  assert.deepEqual([fake.openFds, fake.timerCount, fake.watchCount], [0, 0, 0]);
});

it("the stdio port limits the number and time of connections without a token", async () => {
  const fake = new FakeSys();
  const fd = fake.listen();
  new StreamListener(fake.sys, fd, new TokenTable(), () => undefined);
  const files = Array.from({ length: 2_100 }, () => fake.dial(fd));
  await fake.settle();
  const open = () => files.filter((file) => file.input?.writers === 1).length;
  assert.equal(open(), 2_048);
  fake.advance(60_000);
  assert.deepEqual([open(), fake.openFds, fake.timerCount], [0, 1, 0]);
});

it("the forward port limits the number of connections, and the time of those without a port", async () => {
  const fake = new FakeSys();
  const fd = fake.listen();
  new ForwardListener(fake.sys, fd, () => undefined).allow(TOKEN);
  const files = Array.from({ length: 300 }, () => fake.dial(fd));
  await fake.settle();
  const open = () => files.filter((file) => file.input?.writers === 1).length;
  assert.equal(open(), 256);
  fake.send(files[0] as (typeof files)[0], `${TOKEN}\0`); // half of a port
  await fake.settle();
  fake.advance(60_000);
  assert.deepEqual([open(), fake.openFds, fake.timerCount], [0, 1, 0]);
});

it("the forward port connects only with the pod's token, and never before the pod has one", async () => {
  const fake = new FakeSys();
  const asked: string[] = [];
  const tcpConnect = (address: string, port: number) => {
    asked.push(`${address} ${port}`);
    throw sysError("ECONNREFUSED", "connect");
  };
  const fd = fake.listen();
  const listener = new ForwardListener(Object.assign(fake.sys, { tcpConnect }), fd, () => undefined);
  const greet = async (...pieces: string[]) => {
    const file = fake.dial(fd);
    for (const piece of pieces) {
      await fake.settle();
      fake.send(file, piece);
    }
    await fake.settle();
    assert.equal(file.input?.writers, 0, "closed");
    return asked.splice(0);
  };
  assert.deepEqual(await greet(`${TOKEN}\0\x50`), []);
  listener.allow(TOKEN);
  for (const wrong of [`${TOKEN.replace("0", "1")}\0\x50`, `${"\0".repeat(33)}\x50`])
    assert.deepEqual(await greet(wrong), []);
  assert.deepEqual(await greet(TOKEN.slice(0, 7), TOKEN.slice(7), "\0", "\x50"), ["127.0.0.1 80", "::1 80"]);
});
