import assert from "node:assert/strict";
import { test } from "node:test";
import { Retirement } from "./retirement.ts";

const limits = { firstCreateMs: 60_000, shutdownMs: 1_000 };

test("a shim that never receives a Create exits", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let retirements = 0;
  new Retirement({ unused: () => true, retire: () => void retirements++, ...limits });
  t.mock.timers.tick(59_999);
  assert.equal(retirements, 0);
  t.mock.timers.tick(1);
  assert.equal(retirements, 1);
});

test("a shim with a container keeps running, and exits soon after the last one is deleted", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let retirements = 0;
  let containers = 1;
  const retirement = new Retirement({
    unused: () => containers === 0,
    retire: () => void retirements++,
    ...limits,
  });
  t.mock.timers.tick(60_000);
  containers = 0;
  retirement.emptied();
  t.mock.timers.tick(999);
  assert.equal(retirements, 0);
  containers = 1; // a new container was created
  t.mock.timers.tick(1);
  assert.equal(retirements, 0);
  containers = 0;
  retirement.emptied();
  t.mock.timers.tick(1_000);
  assert.equal(retirements, 1);
});

test("a shim that is already shutting down is not retired as well", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let retirements = 0;
  const retirement = new Retirement({ unused: () => true, retire: () => void retirements++, ...limits });
  retirement.emptied();
  retirement.cancel();
  t.mock.timers.tick(60_000);
  assert.equal(retirements, 0);
});
