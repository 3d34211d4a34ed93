import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../core/errors.ts";
import { cgroupDirectory, scopeOf } from "./cgroup-path.ts";

const GOOD: [string | undefined, string | undefined][] = [
  ["/kubepods/burstable/pod1/c1", "/kubepods/burstable/pod1/c1"],
  ["default/c1", "/default/c1"],
  ["/a/../../../b", "/b"],
  ["../../etc", "/etc"],
  ["/a//b/", "/a/b"],
  ["/a:b:c", "/a:b:c"],
  [
    "kubepods-burstable-pod1_2.slice:cri-containerd:c1",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-c1.scope",
  ],
  [":docker:c1", "/system.slice/docker-c1.scope"],
  ["-.slice::c1", "/c1.scope"],
  ["user.slice:x:own.slice", "/user.slice/own.slice"],
  ["", undefined],
  ["/", undefined],
  ["..", undefined],
  [undefined, undefined],
];
for (const [given, expected] of GOOD) {
  test(`${given} is ${expected}`, () => assert.equal(cgroupDirectory(given), expected));
}

for (const bad of [
  "a\0b",
  "a--b.slice:p:n",
  "a.scope:p:n",
  "../x.slice:p:n",
  "-a.slice:p:n",
  "a.slice:p:",
  "a.slice:p:../../n",
  // Each component repeats all before it, so the length of the path would be quadratic.
  `${"a-".repeat(50_000)}a.slice:p:n`,
]) {
  test(`${JSON.stringify(bad.slice(0, 40))} is refused`, () => {
    assert.throws(
      () => cgroupDirectory(bad),
      (error) =>
        error instanceof HullError && error.code === "InvalidArgument" && error.message.length < 1_000,
    );
  });
}

const SCOPES: [string, { name: string; slice: string } | undefined][] = [
  ["/system.slice/docker-c1.scope", { name: "docker-c1.scope", slice: "system.slice" }],
  ["/a.slice/a-b.slice/p-n.scope", { name: "p-n.scope", slice: "a-b.slice" }],
  ["/c1.scope", { name: "c1.scope", slice: "-.slice" }],
  ["/kubepods/pod1/c1", undefined],
  ["/kubepods/c1.scope", undefined],
  ["/a-b.slice/p-n.scope", undefined],
  ["/a.slice/own.slice", undefined],
  ["/a.slice/_x.scope", undefined],
  ["/a.slice/a b.scope", undefined],
  ["/a b.slice/c1.scope", undefined],
];
for (const [path, expected] of SCOPES) {
  test(`${path} is ${expected ? `the scope ${expected.name}` : "no scope"}`, () =>
    assert.deepEqual(scopeOf(path), expected));
}
