import assert from "node:assert/strict";
import { test } from "node:test";
import { kernel } from "./host.ts";

test("a kernel without the system calls for mounts is reported", () => {
  for (const release of ["5.12.0", "6.1.0-18-cloud-amd64", "10.0", "5.15.0-rc1"]) {
    assert.equal(kernel(release).status, "ok", release);
  }
  for (const release of ["5.11.22", "4.19.0-26-amd64", "5.4.0-150-generic"]) {
    const { status, advice } = kernel(release);
    assert.deepEqual([status, advice], ["fail", "hull needs Linux 5.12 or newer"], release);
  }
});
