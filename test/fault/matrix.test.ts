import assert from "node:assert/strict";
import { test } from "node:test";
import { allCases, COMPONENTS, ciCases, STEPS } from "./matrix.ts";

test("the matrix has every component at every step at which it can exist, killed and stopped", () => {
  const cases = allCases();
  assert.ok(cases.length >= 500, `${cases.length} cases`);
  assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length, "two cases have the same name");
  for (const component of COMPONENTS)
    for (const step of STEPS.filter((name) => name !== "start"))
      for (const how of ["kill", "stop"])
        assert.ok(
          cases.some((one) => one.component === component && one.step === step && one.how === how),
          `${how} ${component} at ${step}`,
        );
});

test("CI runs at least 60 cases, with every vital component killed at every step", () => {
  const cases = ciCases();
  assert.ok(cases.length >= 60, `${cases.length} cases`);
  for (const component of COMPONENTS.filter((name) => name !== "pod-localhost"))
    for (const step of STEPS.filter((name) => name !== "start"))
      assert.ok(
        cases.some((one) => one.component === component && one.step === step && one.how === "kill"),
        `kill ${component} at ${step}`,
      );
});
