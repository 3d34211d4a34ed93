import assert from "node:assert/strict";
import { test } from "node:test";
import { allCases, ciCases, PARTS, STEPS } from "./matrix.ts";

test("the matrix has every component at every step at which it can exist, killed and stopped", () => {
  const cases = allCases();
  assert.ok(cases.length >= 500, `${cases.length} cases`);
  assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length, "two cases of one name");
  for (const part of PARTS)
    for (const step of STEPS.filter((name) => name !== "start"))
      for (const how of ["kill", "stop"])
        assert.ok(
          cases.some((one) => one.part === part && one.step === step && one.how === how),
          `${how} ${part} at ${step}`,
        );
});

test("CI runs at least 60 cases, with every vital component killed at every step", () => {
  const cases = ciCases();
  assert.ok(cases.length >= 60, `${cases.length} cases`);
  for (const part of PARTS.filter((name) => name !== "pod-localhost"))
    for (const step of STEPS.filter((name) => name !== "start"))
      assert.ok(
        cases.some((one) => one.part === part && one.step === step && one.how === "kill"),
        `kill ${part} at ${step}`,
      );
});
