import assert from "node:assert/strict";
import { it } from "node:test";
import type { Sys } from "../sys.ts";
import { HostCall } from "./host-call.ts";

const UEVENTS = 5;

/** A vsock on which each connect has the next outcome. */
function scriptedVsock(outcomes: ("no device" | "refused" | "connected")[]) {
  const waits: number[] = [];
  const closed: number[] = [];
  const reads: (number | Error)[] = [];
  let next = 10;
  let uevent: () => void = () => assert.fail("uevents are not watched");
  const errors = new Map<number, number>();
  const scripted: Partial<Sys> = {
    netlinkUevents: () => UEVENTS,
    read(fd) {
      assert.equal(fd, UEVENTS);
      const result = reads.shift() ?? -1;
      if (result instanceof Error) throw result;
      return result;
    },
    vsockConnect(cid, port) {
      assert.deepEqual([cid, port], [2, 1023]);
      const outcome = outcomes.shift() ?? assert.fail("one connect too many");
      if (outcome === "no device")
        throw Object.assign(new Error("connect: no such device"), { code: "ENODEV" });
      errors.set(++next, outcome === "refused" ? 104 : 0);
      return next;
    },
    watch: (fd, _events, ready) => {
      const call = () => ready({ read: fd === UEVENTS, write: fd !== UEVENTS, hangup: false });
      if (fd === UEVENTS) uevent = call;
      else queueMicrotask(call);
    },
    unwatch: () => undefined,
    socketError: (fd) => errors.get(fd) ?? 0,
    close: (fd) => void closed.push(fd),
    setTimer: (ms, fire) => {
      waits.push(ms);
      queueMicrotask(fire);
      return waits.length;
    },
  };
  const sendUevent = (...messages: (number | Error)[]) => {
    reads.push(...messages);
    uevent();
  };
  return { sys: scripted as Sys, waits, closed, sendUevent, outcomes };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it("the agent dials when a vsock device appears and a host listens, and passes the connection on once", async () => {
  const { sys, waits, closed, sendUevent } = scriptedVsock([
    "no device",
    "no device",
    "refused",
    "refused",
    "connected",
  ]);
  const connections: number[] = [];
  new HostCall(sys, 1023, (fd) => connections.push(fd));
  await settled();
  assert.deepEqual(waits, [], "there is no retry before a uevent");
  sendUevent(60, 80);
  sendUevent(Object.assign(new Error("read"), { code: "ENOBUFS" }));
  await settled();
  assert.deepEqual(connections, [13]);
  assert.deepEqual(closed, [11, 12, UEVENTS]);
  assert.ok((waits[1] ?? 0) > (waits[0] ?? 0), "intervals between attempts grow");
});

it("the agent does not dial twice at a time", async () => {
  const { sys, sendUevent, outcomes } = scriptedVsock(["connected"]);
  const connections: number[] = [];
  new HostCall(sys, 1023, (fd) => connections.push(fd));
  sendUevent(60);
  await settled();
  assert.deepEqual([connections, outcomes], [[11], []]);
});

it("the agent stops dialling once the host has dialled", async () => {
  const { sys, closed, sendUevent } = scriptedVsock(["no device"]);
  const call = new HostCall(sys, 1023, () => assert.fail("a connection was passed on"));
  call.stop();
  call.stop();
  sendUevent(60);
  await settled();
  assert.deepEqual(closed, [UEVENTS]);
});
