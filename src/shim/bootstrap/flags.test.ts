import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { VERSION } from "../../core/version.ts";
import { RuntimeInfo } from "../../proto/generated/containerd/types/introspection.ts";
import { parseFlags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { runtimeInfo } from "./info.ts";

const invalid = { code: "InvalidArgument" };

/** Properties that every object inherits, as flags and as values. */
const INHERITED = [["-toString=1"], ["-constructor"], ["-__proto__", "x"], ["-debug=toString"]];

test("flags: parsed as by Go's flag package", () => {
  const flags = parseFlags([
    "-namespace",
    "n",
    "--id=x=y",
    "-debug",
    "-address",
    "",
    "-socket",
    "s",
    "start",
    "-id",
    "z",
  ]);
  assert.equal(flags.namespace, "n");
  assert.equal(flags.id, "x=y");
  assert.equal(flags.debug, true);
  assert.equal(flags.action, "start");
  assert.equal(parseFlags(["-debug=false", "-info", "--", "delete"]).debug, false);
  for (const args of [["-id"], ["-nope"], ["-debug=maybe"], ["---x"], ["-=x"], ...INHERITED]) {
    assert.throws(() => parseFlags(args), invalid, args.join(" "));
  }
});

test("identifiers: containerd's grammar", () => {
  for (const id of ["a", "k8s.io", "a_b-c.d9", "x".repeat(76)]) checkIdentifier("id", id);
  for (const id of ["", ".", "..", "a/b", "../a", "a..b", "-a", "a-", "a b", "a\n", "ä", "x".repeat(77)]) {
    assert.throws(() => checkIdentifier("id", id), invalid, JSON.stringify(id));
  }
});

test("-info: a RuntimeInfo with recursive read-only mounts, without user namespaces", () => {
  const info = RuntimeInfo.decode(runtimeInfo());
  assert.equal(info.name, "io.containerd.hull.v2");
  assert.equal(info.version?.version, VERSION);
  const features = JSON.parse(Buffer.from(info.features?.value ?? []).toString());
  assert.ok(features.mountOptions.includes("rro"));
  assert.equal(features.linux.namespaces.includes("user"), false);
});

test("the version is the package's", () => {
  assert.equal(JSON.parse(readFileSync("package.json", "utf8")).version, VERSION);
});
