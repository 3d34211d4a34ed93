import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { messageOf } from "../../../test/testkit/message.ts";
import { BootstrapParams } from "../../proto/generated/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { podOf } from "./membership.ts";
import { MessageWriter, readFields } from "./protobuf.ts";
import { decodeRecord, encodeRecord } from "./record.ts";
import { parseStartInput } from "./start-input.ts";

const invalid = { code: "InvalidArgument" };
const OPTIONS = "runtimeoptions.v1.Options";

test("start's stdin: nothing, options, BootstrapParams", () => {
  assert.equal(parseStartInput(new Uint8Array(), "ns", "c1").options, undefined);

  // What containerd up to 2.2 sends for `ctr run --runtime-config-path /tmp/x.yaml`.
  const options = Buffer.from(
    `0a19${Buffer.from(OPTIONS).toString("hex")}120d120b${Buffer.from("/tmp/x.yaml").toString("hex")}`,
    "hex",
  );
  const any = parseStartInput(options, "ns", "c1").options;
  assert.equal(any?.typeUrl, OPTIONS);
  assert.equal(Buffer.from(any?.value ?? []).toString("latin1", 2), "/tmp/x.yaml");

  const params = BootstrapParams.encode(
    messageOf(BootstrapParams, {
      instanceId: "c1",
      namespace: "ns",
      logLevel: -4,
      containerdVersion: "v2.3.0",
      containerdTtrpcAddress: "/run/t.ttrpc",
      containerdGrpcAddress: "/run/t",
      containerdBinary: "/bin/containerd",
      extensions: [
        { value: { typeUrl: "example.Other", value: new Uint8Array([1]) } },
        { value: { typeUrl: `types.containerd.io/${OPTIONS}`, value: new Uint8Array([9, 8]) } },
      ],
    }),
  ).finish();
  assert.deepEqual(parseStartInput(params, "ns", "c1"), {
    options: { typeUrl: `types.containerd.io/${OPTIONS}`, value: new Uint8Array([9, 8]) },
    logLevel: "debug",
    containerdVersion: "v2.3.0",
    ttrpcAddress: "/run/t.ttrpc",
    grpcAddress: "/run/t",
    containerdBinary: "/bin/containerd",
  });
  assert.throws(() => parseStartInput(params, "ns", "other"), invalid);
});

test("start's stdin: garbage is parsed or InvalidArgument, nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseStartInput(bytes, "ns", "c1");
      } catch (error) {
        assert.equal((error as { code: string }).code, "InvalidArgument");
      }
    }),
  );
});

test("protobuf: varints survive encoding and decoding", () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
      fc.integer({ min: 1, max: 2 ** 28 - 1 }),
      (value, number) => {
        assert.deepEqual(readFields(new MessageWriter().varint(number, value).finish()), [
          { number, type: "varint", value },
        ]);
      },
    ),
  );
});

test("membership: containerd's, CRI-O's and dockershim's annotations", () => {
  const config = (annotations: object) => JSON.stringify({ annotations });
  assert.equal(podOf("c", undefined), "c");
  assert.equal(podOf("c", "{}"), "c");
  const cri = "io.kubernetes.cri";
  assert.equal(podOf("c", config({ [`${cri}.container-type`]: "sandbox", [`${cri}.sandbox-id`]: "p" })), "c");
  assert.equal(
    podOf("c", config({ [`${cri}.container-type`]: "container", [`${cri}.sandbox-id`]: "p" })),
    "p",
  );
  assert.equal(
    podOf("c", config({ [`${cri}-o.ContainerType`]: "container", [`${cri}-o.SandboxID`]: "p" })),
    "p",
  );
  assert.equal(podOf("c", config({ "io.kubernetes.docker.type": "podsandbox" })), "c");
  assert.equal(
    podOf("c", config({ "io.kubernetes.docker.type": "container", "io.kubernetes.sandbox.id": "p" })),
    "p",
  );
  for (const bad of [
    "",
    "[]",
    "nonsense",
    JSON.stringify({ annotations: 3 }),
    config({ [`${cri}.container-type`]: "other" }),
    config({ [`${cri}.container-type`]: "container" }),
    config({ [`${cri}.container-type`]: "container", [`${cri}.sandbox-id`]: "../../etc" }),
  ]) {
    assert.throws(() => podOf("c", bad), invalid, bad);
  }
});

test("the record survives encoding and decoding", () => {
  const record = {
    namespace: "ns",
    id: "c1",
    bundle: "/b",
    grpcAddress: "/g",
    ttrpcAddress: "",
    publishBinary: "",
    containerdVersion: "",
    logLevel: "info",
    options: undefined,
  } as const;
  assert.deepEqual(decodeRecord(encodeRecord(record)), record);
  const options = { typeUrl: OPTIONS, value: Uint8Array.from({ length: 256 }, (_, i) => i) };
  assert.deepEqual(decodeRecord(encodeRecord({ ...record, options })).options, options);
  assert.throws(() => decodeRecord("{}"), { code: "Internal" });
});
