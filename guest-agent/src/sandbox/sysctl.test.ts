import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sysctlPath } from "./sysctl.ts";

describe("sysctl keys", () => {
  it("follow sysctl(8)'s separators", () => {
    assert.equal(sysctlPath("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
    assert.equal(sysctlPath("net/ipv4/ip_forward"), "/proc/sys/net/ipv4/ip_forward");
    assert.equal(sysctlPath("net.ipv4.conf.eth0/1.forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
    assert.equal(sysctlPath("net/ipv4/conf/eth0.1/forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
  });

  for (const key of ["", "kernel", "../x", "a..b", "a//b", ".a.b", "a.b.", "a b.c", "a.\0"]) {
    it(`do not include ${JSON.stringify(key)}`, () => {
      assert.throws(() => sysctlPath(key), /not a key/);
    });
  }
});
