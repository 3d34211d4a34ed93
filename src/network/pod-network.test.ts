import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { Deadline } from "../core/deadline.ts";
import { PodNetwork } from "./pod-network.ts";

describe("a pod's network", () => {
  for (const [path, code] of [
    ["/proc/self/ns/net", "InvalidArgument"],
    ["/run/netns/no-such-namespace", "NotFound"],
  ] as const) {
    it(`refuses ${path} and records nothing`, async () => {
      const ledger = new MemoryLedger();
      const options = { pod: "default/a", netns: path, ownPath: "/none", model: "tcfilter", ledger } as const;
      await assert.rejects(PodNetwork.open(options, Deadline.none()), { code });
      assert.deepEqual(ledger.resources, []);
    });
  }
});
