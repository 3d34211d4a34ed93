import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type LoadedConfig, loadWith } from "../config/load.ts";
import type { LogLevel } from "./bootstrap/start-input.ts";
import { logLevel, PodConfig } from "./pod-config.ts";

const load = (body: string) =>
  loadWith({ configBody: `version: 1\n${body}\n` }, { env: {}, installation: "/opt/hull" });

const ALLOWS = "enable_annotations: [runtime.*]";
const annotation = (key: string, value: string) => ({ [`io.hull.config.runtime.${key}`]: value });

describe("a pod's configuration", () => {
  it("has the SIGTERM escalation of the pod's annotations once the pod boots", async () => {
    const config = new PodConfig(load(`runtime: {sigterm_escalation: never, ${ALLOWS}}`), () => undefined);
    assert.equal(await config.escalation(), "never");
    await config.ofPod(annotation("sigterm_escalation", "immediate"));
    assert.equal(await config.escalation(), "immediate");
    await config.ofPod(annotation("sigterm_escalation", "unhandled"));
    assert.equal(await config.escalation(), "immediate", "a later container's annotations do not count");
  });

  it("takes the timeout of a Create from the container's annotations until the pod boots, then from the pod's", async () => {
    const config = new PodConfig(
      load(`runtime: {create_container_timeout: 20s, ${ALLOWS}}`),
      () => undefined,
    );
    assert.equal(await config.createTimeoutMs({}), 20_000);
    const annotations = annotation("create_container_timeout", "5s");
    assert.equal(await config.createTimeoutMs(annotations), 5_000);
    assert.equal(await config.createTimeoutMs({}), 20_000);
    await config.ofPod(annotations);
    assert.equal(await config.createTimeoutMs({}), 5_000);
  });

  it("has no timeout if it is invalid, for which the boot fails", async () => {
    const invalid = new PodConfig(load("runtime: {no_such_key: 1}"), () => undefined);
    assert.equal(await invalid.createTimeoutMs({}), Number.POSITIVE_INFINITY);
    await assert.rejects(invalid.ofPod({}), /no_such_key/);
  });

  it("reports what is loaded: first of the files, then with the pod's annotations", async () => {
    const levels: string[] = [];
    const note = ({ config }: LoadedConfig) => void levels.push(config.runtime.log_level);
    const config = new PodConfig(load(`runtime: {log_level: warn, ${ALLOWS}}`), note);
    await config.ofPod(annotation("log_level", "debug"));
    assert.deepEqual(levels, ["warn", "debug"]);
  });
});

describe("the log's level", () => {
  const cases: [requested: LogLevel, set: string | undefined, expected: LogLevel][] = [
    ["info", undefined, "info"],
    ["warn", undefined, "warn"],
    ["debug", undefined, "debug"],
    ["info", "error", "error"],
    ["info", "debug", "debug"],
    ["error", "info", "info"],
    ["debug", "error", "debug"],
    ["debug", "trace", "trace"],
    ["trace", "debug", "trace"],
  ];
  for (const [requested, set, expected] of cases) {
    it(`is ${expected} if containerd requests ${requested} and the configuration ${set}`, async () => {
      assert.equal(logLevel(requested, await load(set ? `runtime: {log_level: ${set}}` : "")), expected);
    });
  }
});
