import assert from "node:assert/strict";
import { it } from "node:test";
import type { Sys } from "../sys.ts";
import { HostCall } from "./host-call.ts";

/** A vsock of which each connect goes as the next entry says. */
function scripted(outcomes: ("no device" | "refused" | "connected")[]) {
  const waits: number[] = [];
  const closed: number[] = [];
  let next = 10;
  const errors = new Map<number, number>();
  const sys = {
    vsockConnect(cid: number, port: number): number {
      assert.deepEqual([cid, port], [2, 1023]);
      const outcome = outcomes.shift() ?? assert.fail("one connect too many");
      if (outcome === "no device")
        throw Object.assign(new Error("connect: no such device"), { code: "ENODEV" });
      errors.set(++next, outcome === "refused" ? 104 : 0);
      return next;
    },
    watch: (_fd: number, _events: object, ready: () => void) => queueMicrotask(ready),
    unwatch: () => undefined,
    socketError: (fd: number) => errors.get(fd) ?? 0,
    close: (fd: number) => closed.push(fd),
    setTimer: (ms: number, fire: () => void) => {
      waits.push(ms);
      queueMicrotask(fire);
      return waits.length;
    },
  };
  return { sys: sys as unknown as Sys, waits, closed };
}

it("calls until there is a device and a host that listens, then hands the connection over once", async () => {
  const { sys, waits, closed } = scripted(["no device", "no device", "refused", "connected"]);
  const connections: number[] = [];
  new HostCall(sys, 1023, (fd) => connections.push(fd));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(connections, [12]);
  assert.deepEqual(closed, [11]);
  assert.equal(waits.length, 3);
  assert.ok((waits[1] ?? 0) > (waits[0] ?? 0), "tries become rarer");
});

it("does not call any more when the host has dialled", async () => {
  const { sys } = scripted(["no device"]);
  const call = new HostCall(sys, 1023, () => assert.fail("nobody was called"));
  call.stop();
  await new Promise((resolve) => setImmediate(resolve));
});
