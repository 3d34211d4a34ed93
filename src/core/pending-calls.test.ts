import assert from "node:assert/strict";
import { test } from "node:test";
import { PendingCalls } from "./pending-calls.ts";

test("pending calls are listed with their age, the oldest first; an answered one is not", async () => {
  const calls = new PendingCalls();
  const answered = calls.begin("Create c1");
  await new Promise((resolve) => setTimeout(resolve, 20));
  calls.begin("Kill c1");
  const [oldest, newest] = calls.describe();
  assert.deepEqual([oldest?.name, newest?.name], ["Create c1", "Kill c1"]);
  assert.ok(Number(oldest?.forMs) >= 15 && Number(newest?.forMs) < Number(oldest?.forMs));
  answered();
  answered();
  assert.deepEqual(
    calls.describe().map(({ name }) => name),
    ["Kill c1"],
  );
});
