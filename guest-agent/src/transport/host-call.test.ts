import assert from "node:assert/strict";
import { it } from "node:test";
import type { Sys } from "../sys.ts";
import { HostCall } from "./host-call.ts";

const UEVENTS = 5;

/** A vsock of which each connect goes as the next entry says. */
function scripted(outcomes: ("no device" | "refused" | "connected")[]) {
  const waits: number[] = [];
  const closed: number[] = [];
  const reads: (number | Error)[] = [];
  let next = 10;
  let uevent: () => void = () => assert.fail("uevents are not heard");
  const errors = new Map<number, number>();
  const sys = {
    netlinkUevents: () => UEVENTS,
    read(fd: number): number {
      assert.equal(fd, UEVENTS);
      const result = reads.shift() ?? -1;
      if (result instanceof Error) throw result;
      return result;
    },
    vsockConnect(cid: number, port: number): number {
      assert.deepEqual([cid, port], [2, 1023]);
      const outcome = outcomes.shift() ?? assert.fail("one connect too many");
      if (outcome === "no device")
        throw Object.assign(new Error("connect: no such device"), { code: "ENODEV" });
      errors.set(++next, outcome === "refused" ? 104 : 0);
      return next;
    },
    watch: (fd: number, _events: object, ready: () => void) => {
      if (fd === UEVENTS) uevent = ready;
      else queueMicrotask(ready);
    },
    unwatch: () => undefined,
    socketError: (fd: number) => errors.get(fd) ?? 0,
    close: (fd: number) => closed.push(fd),
    setTimer: (ms: number, fire: () => void) => {
      waits.push(ms);
      queueMicrotask(fire);
      return waits.length;
    },
  };
  const tellUevent = (...messages: (number | Error)[]) => {
    reads.push(...messages);
    uevent();
  };
  return { sys: sys as unknown as Sys, waits, closed, tellUevent, outcomes };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it("calls when a device comes and a host listens, then hands the connection over once", async () => {
  const { sys, waits, closed, tellUevent } = scripted([
    "no device",
    "no device",
    "refused",
    "refused",
    "connected",
  ]);
  const connections: number[] = [];
  new HostCall(sys, 1023, (fd) => connections.push(fd));
  await settled();
  assert.deepEqual(waits, [], "nothing is tried again before a uevent");
  tellUevent(60, 80);
  tellUevent(Object.assign(new Error("read"), { code: "ENOBUFS" }));
  await settled();
  assert.deepEqual(connections, [13]);
  assert.deepEqual(closed, [11, 12, UEVENTS]);
  assert.ok((waits[1] ?? 0) > (waits[0] ?? 0), "tries become rarer");
});

it("does not call twice at a time", async () => {
  const { sys, tellUevent, outcomes } = scripted(["connected"]);
  const connections: number[] = [];
  new HostCall(sys, 1023, (fd) => connections.push(fd));
  tellUevent(60);
  await settled();
  assert.deepEqual([connections, outcomes], [[11], []]);
});

it("does not call any more when the host has dialled", async () => {
  const { sys, closed, tellUevent } = scripted(["no device"]);
  const call = new HostCall(sys, 1023, () => assert.fail("nobody was called"));
  call.stop();
  call.stop();
  tellUevent(60);
  await settled();
  assert.deepEqual(closed, [UEVENTS]);
});
