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
  it("has the SIGTERM escalation of its annotations once it is booted with them", async () => {
    const config = new PodConfig(load(`runtime: {sigterm_escalation: never, ${ALLOWS}}`), () => undefined);
    assert.equal(await config.escalation(), "never");
    await config.ofPod(annotation("sigterm_escalation", "immediate"));
    assert.equal(await config.escalation(), "immediate");
    await config.ofPod(annotation("sigterm_escalation", "unhandled"));
    assert.equal(await config.escalation(), "immediate", "a later container's are not the pod's");
  });

  it("limits a Create by its annotations until the pod has some", async () => {
    const config = new PodConfig(
      load(`runtime: {create_container_timeout: 20s, ${ALLOWS}}`),
      () => undefined,
    );
    assert.equal(await config.createLimitMs({}), 20_000);
    const annotations = annotation("create_container_timeout", "5s");
    assert.equal(await config.createLimitMs(annotations), 5_000);
    assert.equal(await config.createLimitMs({}), 20_000);
    await config.ofPod(annotations);
    assert.equal(await config.createLimitMs({}), 5_000);
  });

  it("sets no limit where it is refused, which the boot tells", async () => {
    const refused = new PodConfig(load("runtime: {no_such_key: 1}"), () => undefined);
    assert.equal(await refused.createLimitMs({}), Number.POSITIVE_INFINITY);
    await assert.rejects(refused.ofPod({}), /no_such_key/);
  });

  it("tells what is in force: the files', then the pod's", async () => {
    const told: string[] = [];
    const note = ({ config }: LoadedConfig) => void told.push(config.runtime.log_level);
    const config = new PodConfig(load(`runtime: {log_level: warn, ${ALLOWS}}`), note);
    await config.ofPod(annotation("log_level", "debug"));
    assert.deepEqual(told, ["warn", "debug"]);
  });
});

describe("the log's level", () => {
  const cases: [asked: LogLevel, set: string | undefined, expected: LogLevel][] = [
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
  for (const [asked, set, expected] of cases) {
    it(`is ${expected} when containerd asks for ${asked} and the configuration for ${set}`, async () => {
      assert.equal(logLevel(asked, await load(set ? `runtime: {log_level: ${set}}` : "")), expected);
    });
  }
});
