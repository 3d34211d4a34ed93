import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeBoot } from "../../../test/testkit/fake-boot.ts";
import { Deadline } from "../../core/deadline.ts";
import { bootSandbox } from "./boot-sandbox.ts";

test("a boot that fails before its first phase reports the step and leaves no timer", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const { request, context } = await fakeBoot();
  const before = timers();
  const booting = bootSandbox(request, { ...context, installation: "/nowhere" }, Deadline.none());
  await assert.rejects(booting, { message: /^boot the VM: mount addon \/nowhere\/lib\/mount-api\.node: / });
  assert.equal(timers(), before);
});
