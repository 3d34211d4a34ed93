import assert from "node:assert/strict";
import { parseMountInfo } from "../../../src/core/mountinfo.ts";
import { parseIpAnswers } from "../../../src/network/ip-json.ts";
import { cgroupDirectory } from "../../../src/resources/cgroup-path.ts";
import { mountsBelow } from "../../../src/shim/bootstrap/unmount-rootfs.ts";
import { parseOutputUri } from "../../../src/shim/io/stdio-uri.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

/** /proc/self/mountinfo: containers choose names of mount points. */
export const mountinfo: Target = {
  name: "mountinfo",
  seeds: [
    "22 1 0:21 / /b/rootfs rw,nosuid shared:5 master:2 - tmpfs tmpfs rw,size=4k\n23 22 0:22 / /b/rootfs/a\\040b ro - proc proc rw\n",
  ],
  tokens: ["\\040", "\\134", "\\012", " - ", "/b/rootfs", "\n"],
  run(input) {
    const text = input.toString("latin1");
    const mounts = parseMountInfo(text);
    for (const { options, fields, target } of mounts) {
      assert.ok([...options, ...fields, target].every((value) => typeof value === "string"));
    }
    const below = mountsBelow(text, "/b/rootfs");
    assert.ok(below.every((path) => path === "/b/rootfs" || path.startsWith("/b/rootfs/")));
    return below.length > 0;
  },
};

/** `linux.cgroupsPath` in both of its forms: it never leaves the hierarchy. */
export const cgroupPath: Target = {
  name: "cgroup-path",
  seeds: [
    "/kubepods/pod1/c1",
    "kubepods-burstable-pod1.slice:cri-containerd:c1",
    "-.slice::c1",
    "user.slice:p:x.slice",
  ],
  tokens: ["..", "/", ":", ".slice", "-", "/../"],
  run(input) {
    try {
      const path = cgroupDirectory(input.toString("utf8"));
      assert.ok(path === undefined || (path.startsWith("/") && !/(^|\/)\.?\.?(\/|$)/.test(path.slice(1))));
      return path !== undefined;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};

/** The target of a client's output: a path or a URI. */
export const stdioUri: Target = {
  name: "stdio-uri",
  seeds: [
    "/run/fifo/1-stdout",
    "fifo:///run/f",
    "file:///var/log/x",
    "binary:///usr/bin/logger?id=1&x=y",
    "binary-v2:///b",
  ],
  tokens: ["%2f", "%00", "?", "#", "://", "../", "%"],
  run(input) {
    try {
      const output = parseOutputUri(input.toString("utf8"));
      if (output.kind !== "none") assert.ok(output.path.startsWith("/") && !output.path.includes("\0"));
      return output.kind !== "none";
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};

/** The output of `ip -json` in a pod's network namespace, which CNI plugins have set up. */
export const ipAnswers: Target = {
  name: "ip-answers",
  seeds: [
    '[{"ifname":"eth0","flags":["UP"],"mtu":1500,"link_type":"ether","addr_info":[]}]\n[{"dst":"default","gateway":"10.0.0.1"}]\n[{"dst":"10.0.0.1","dev":"eth0","lladdr":"aa:bb"}]\n',
  ],
  run(input) {
    try {
      const { links, routes, neighbours } = parseIpAnswers(input.toString("utf8"));
      assert.ok([links, routes, neighbours].every(Array.isArray));
      return links.length > 0;
    } catch (thrown) {
      return refusal(thrown, "Internal");
    }
  },
};
