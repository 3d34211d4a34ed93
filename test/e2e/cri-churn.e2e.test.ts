/** Many concurrent pods, of which nothing may be left. A release must pass with HULL_E2E_PODS=20. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { it } from "node:test";
import { churn } from "../testkit/churn.ts";
import { leaksSince, snapshot } from "../testkit/leaks.ts";
import { forEveryHandler } from "./cri-fixture.ts";

const PODS = Number(process.env.HULL_E2E_PODS ?? 2);
const AT_ONCE = Math.min(5, PODS);

forEveryHandler(
  "churn",
  (target, handler) => {
    it(`creates ${PODS} pods of 3 containers, ${AT_ONCE} at a time, twice with the same names`, async () => {
      const { cri, scope } = target();
      const directory = join(target().directory, "logs");
      const clean = await snapshot(scope);
      for (let round = 0; round < 2; round++) {
        await churn(cri, { handler, pods: PODS, atOnce: AT_ONCE, containers: 3, directory });
      }
      assert.deepEqual(await leaksSince(clean, scope), []);
    });
  },
  ["2"],
);
