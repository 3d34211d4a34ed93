import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../../core/errors.ts";
import { shimVersionForGrpc } from "./answer.ts";

test("gRPC has the shim API version that containerd expects, and is refused for those that cannot use it", () => {
  assert.equal(shimVersionForGrpc("1.7.24~ds1"), 2);
  assert.equal(shimVersionForGrpc("v2.5.0"), 3);
  for (const version of ["1.6.20~ds1", "2.0.0", "2.1.9+unknown", "v2.4.0-beta.0", "", "?"]) {
    assert.throws(
      () => shimVersionForGrpc(version),
      (error) =>
        error instanceof HullError && error.code === "FailedPrecondition" && error.message.includes("ttrpc"),
    );
  }
});
