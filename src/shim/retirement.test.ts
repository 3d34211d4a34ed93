import assert from "node:assert/strict";
import { test } from "node:test";
import { Retirement } from "./retirement.ts";

const limits = { firstCreateMs: 60_000, shutdownMs: 1_000 };

test("a shim to which no Create came ends by itself", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let ends = 0;
  new Retirement({ unused: () => true, retire: () => void ends++, ...limits });
  t.mock.timers.tick(59_999);
  assert.equal(ends, 0);
  t.mock.timers.tick(1);
  assert.equal(ends, 1);
});

test("a shim with a container stays; it ends a moment after it has lost the last one", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let ends = 0;
  let containers = 1;
  const retirement = new Retirement({
    unused: () => containers === 0,
    retire: () => void ends++,
    ...limits,
  });
  t.mock.timers.tick(60_000);
  containers = 0;
  retirement.emptied();
  t.mock.timers.tick(999);
  assert.equal(ends, 0);
  containers = 1; // the sandbox's container was made anew
  t.mock.timers.tick(1);
  assert.equal(ends, 0);
  containers = 0;
  retirement.emptied();
  t.mock.timers.tick(1_000);
  assert.equal(ends, 1);
});

test("a shim that is being ended does not end itself a second time", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let ends = 0;
  const retirement = new Retirement({ unused: () => true, retire: () => void ends++, ...limits });
  retirement.emptied();
  retirement.cancel();
  t.mock.timers.tick(60_000);
  assert.equal(ends, 0);
});
