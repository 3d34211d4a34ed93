import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const API = join(import.meta.dirname, "../proto/hull/agent/v1/agent.proto");

/** The string and bytes fields of what the guest sends: responses, events, and the messages in them. */
function textsOfTheGuest(api: string): string[] {
  const bodies = new Map(
    [...api.matchAll(/^message (\w+) \{(\}|.*?^\})/gms)].map(([, name, body]) => [name, body]),
  );
  const sent = [...bodies.keys()].filter((name = "") => /Response$|Event$/.test(name));
  return sent.flatMap((message) => {
    const fields = (bodies.get(message) ?? "").matchAll(
      /^ +(?:repeated |optional )?([\w.<>, ]+?) (\w+) = \d+;/gm,
    );
    return [...fields].flatMap(([, type = "", field]) => {
      assert.match(
        type,
        /^(u?int(32|64)|bool|string|bytes|map<string, string>|Process|OomEvent)$/,
        `${message}.${field}`,
      );
      return /string|bytes/.test(type) ? [`${message}.${field}`] : [];
    });
  });
}

test("the guest's messages have no field for a path, only versions, process ids and statistics", () => {
  assert.deepEqual(textsOfTheGuest(readFileSync(API, "utf8")).sort(), [
    "HelloResponse.agent_version",
    "HelloResponse.features",
    "HelloResponse.kernel_release",
    "OomEvent.container_id",
    "StatsContainerResponse.cgroup_files",
    "StatsContainerResponse.net_dev",
  ]);
});
