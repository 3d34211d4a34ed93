import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { stallingTool } from "../../test/testkit/stalling-tool.ts";
import { within } from "../../test/testkit/within.ts";
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

  it("takes its taps away when it was not connected in time", async (t) => {
    const name = `hull-net-${process.pid}`;
    const netns = `/run/netns/${name}`;
    const made =
      'ip netns add "$1" && ip -n "$1" link add eth0 type veth peer name far && ip -n "$1" link set eth0 up';
    await promisify(execFile)("sh", ["-c", made, "sh", name]);
    t.after(() => promisify(execFile)("ip", ["netns", "delete", name]));
    const links = async () => (await promisify(execFile)("ip", ["-n", name, "-o", "link"])).stdout;
    const tc = await stallingTool(t, "tc");
    const [ledger, deadline] = [new MemoryLedger(), within(60_000)];
    const options = { pod: "default/a", netns, ownPath: "/none", model: "tcfilter", ledger } as const;
    const opening = assert.rejects(PodNetwork.open(options, deadline), { code: "Canceled" });
    await tc.called();
    assert.match(await links(), /hull-/);
    deadline.cancel();
    await opening;
    assert.doesNotMatch(await links(), /hull-/);
    assert.deepEqual(ledger.resources, []);
  });
});
