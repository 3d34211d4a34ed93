import assert from "node:assert/strict";
import { test } from "node:test";
import { messageOf } from "../../test/testkit/message.ts";
import { bytes, hex } from "../../test/testkit/ttrpc/hex.ts";
import { BootstrapParams, LogLevel } from "./generated/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { CreateTaskRequest, UpdateTaskRequest } from "./generated/containerd/task/v2/task.ts";
import { Timestamp } from "./generated/google/protobuf/timestamp.ts";
import { Metrics as MetricsV1 } from "./generated/io/containerd/cgroups/v1/metrics.ts";
import { MemoryStat, Metrics, PidsStat } from "./generated/io/containerd/cgroups/v2/metrics.ts";

// Checks those options of the generator that would lose data if they were wrong. The vectors are written by hand from
// the protobuf encoding rules.

test("64-bit counters are exact, negative int64 is ten bytes", () => {
  const metrics = messageOf(Metrics, {
    memory: messageOf(MemoryStat, { usageLimit: 0xffff_ffff_ffff_ffffn }),
    pids: messageOf(PidsStat, { limit: 2n ** 53n + 1n }),
  });
  const encoded = Metrics.encode(metrics).finish();
  assert.equal(
    hex(encoded),
    `${"0a09"}${"1081808080808080" + "10"}${"220c"}${"8802" + "ffffffffffffffffff01"}`,
  );
  assert.deepEqual(Metrics.decode(encoded), metrics);
  const year1 = messageOf(Timestamp, { seconds: -62_135_596_800n });
  assert.equal(hex(Timestamp.encode(year1).finish()), "088092b8c398feffffff01");
  assert.equal(Timestamp.decode(bytes("088092b8c398feffffff01")).seconds, -62_135_596_800n);
});

test("negative enum values are encoded and decoded, unknown ones kept", () => {
  const params = messageOf(BootstrapParams, { logLevel: LogLevel.LOG_LEVEL_DEBUG });
  assert.equal(hex(BootstrapParams.encode(params).finish()), "18fcffffffffffffffff01");
  assert.equal(BootstrapParams.decode(bytes("18fcffffffffffffffff01")).logLevel, -4);
  assert.equal(BootstrapParams.decode(bytes("1863")).logLevel, 99);
});

test("packed numbers are decoded in both forms", () => {
  const packed = MetricsV1.decode(bytes("1a06 0a04 2202 0102"));
  const unpacked = MetricsV1.decode(bytes("1a06 0a04 2001 2002"));
  assert.deepEqual(packed.cpu?.usage?.perCpu, [1n, 2n]);
  assert.deepEqual(unpacked, packed);
});

test("empty and absent optional fields differ, maps accept any key, unknown fields are skipped", () => {
  assert.equal(BootstrapParams.decode(bytes("")).socketDir, undefined);
  assert.equal(BootstrapParams.decode(bytes("4a00")).socketDir, "");
  const update = messageOf(UpdateTaskRequest, { annotations: { constructor: "x", "": "y" } });
  assert.deepEqual(
    UpdateTaskRequest.decode(UpdateTaskRequest.encode(update).finish()).annotations,
    update.annotations,
  );
  assert.equal(CreateTaskRequest.decode(bytes("0a0161 fa0703616263")).id, "a");
});
