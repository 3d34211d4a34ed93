import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { messageOf } from "../../../test/testkit/message.ts";
import { HullError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { BootstrapParams } from "../../proto/generated/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { RuntimeInfo } from "../../proto/generated/containerd/types/introspection.ts";
import { parseFlags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { runtimeInfo } from "./info.ts";
import { socketAnswers } from "./liveness.ts";
import { podOf } from "./membership.ts";
import { PodPaths } from "./pod-paths.ts";
import { MessageWriter, readFields } from "./protobuf.ts";
import { decodeRecord, encodeRecord } from "./record.ts";
import { mountsBelow } from "./rootfs.ts";
import { rollBack } from "./start.ts";
import { parseStartInput } from "./start-input.ts";
import type { Sys } from "./sys.ts";

const invalid = { code: "InvalidArgument" };
const OPTIONS = "runtimeoptions.v1.Options";

/** Properties that every object inherits, as flags and as values. */
const INHERITED = [["-toString=1"], ["-constructor"], ["-__proto__", "x"], ["-debug=toString"]];

test("flags: parsed as by Go's flag package", () => {
  const flags = parseFlags([
    "-namespace",
    "n",
    "--id=x=y",
    "-debug",
    "-address",
    "",
    "-socket",
    "s",
    "start",
    "-id",
    "z",
  ]);
  assert.equal(flags.namespace, "n");
  assert.equal(flags.id, "x=y");
  assert.equal(flags.debug, true);
  assert.equal(flags.action, "start");
  assert.equal(parseFlags(["-debug=false", "-info", "--", "delete"]).debug, false);
  for (const args of [["-id"], ["-nope"], ["-debug=maybe"], ["---x"], ["-=x"], ...INHERITED]) {
    assert.throws(() => parseFlags(args), invalid, args.join(" "));
  }
});

test("identifiers: containerd's grammar", () => {
  for (const id of ["a", "k8s.io", "a_b-c.d9", "x".repeat(76)]) checkIdentifier("id", id);
  for (const id of ["", ".", "..", "a/b", "../a", "a..b", "-a", "a-", "a b", "a\n", "ä", "x".repeat(77)]) {
    assert.throws(() => checkIdentifier("id", id), invalid, JSON.stringify(id));
  }
});

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

test("a socket path that is too long is refused with advice", () => {
  const longest = new PodPaths("n".repeat(76), "p".repeat(10));
  longest.checkLength();
  assert.equal(longest.socket.length, 107);
  assert.throws(
    () => new PodPaths("n".repeat(76), "p".repeat(11)).checkLength(),
    /shorten .* by 1 character/,
  );
});

test("a daemon that is exiting does not answer, although its socket still listens", () => {
  const stat = (state: string, flags: number, startTime: number) =>
    `7 (a) b) ${state} 1 1 1 0 -1 ${flags} ${"0 ".repeat(12)}${startTime} 0 0\n`;
  const answers = (pidFile: string | undefined, process: string | undefined) => {
    const files: Record<string, string | undefined> = {
      [paths.pid]: pidFile,
      "/proc/7/stat": process,
    };
    const sys = {
      unixConnect: () => 3,
      close: () => undefined,
      readFile: (path: string) => {
        const text = files[path];
        if (text === undefined) throw Object.assign(new Error(path), { code: "ENOENT" });
        return new TextEncoder().encode(text);
      },
    };
    return socketAnswers(sys as unknown as Sys, paths);
  };
  const paths = new PodPaths("ns", "c1");
  assert.equal(answers(undefined, undefined), true); // `start` has not recorded it yet
  assert.equal(answers("7 99\n", stat("S", 0x400000, 99)), true);
  assert.equal(answers("7 99\n", stat("R", 0x400004, 99)), false);
  assert.equal(answers("7 99\n", stat("Z", 0x400004, 99)), false);
  assert.equal(answers("7 99\n", stat("S", 0x400000, 100)), false);
  assert.equal(answers("7 99\n", undefined), false);
});

test("the record comes back as it was written", () => {
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

test("rootfs mounts are not unmounted by a path inside another mount", () => {
  const info = (...paths: string[]) =>
    paths.map((path, i) => `${i} 1 0:1 / ${path} rw - tmpfs tmpfs rw`).join("\n");
  const stacked = info("/", "/b/rootfs", "/b/rootfs/a\\040b", "/b/rootfs2", "/b/rootfs");
  assert.deepEqual(mountsBelow(stacked, "/b/rootfs"), ["/b/rootfs", "/b/rootfs"]);
  const inner = info("/", "/b/rootfs/a\\040b", "/b/rootfs/a\\040b/c", "/b/rootfs/d");
  assert.deepEqual(mountsBelow(inner, "/b/rootfs"), ["/b/rootfs/a b", "/b/rootfs/d"]);
});

test("-info: a RuntimeInfo with recursive read-only mounts, without user namespaces", () => {
  const info = RuntimeInfo.decode(runtimeInfo());
  assert.equal(info.name, "io.containerd.hull.v2");
  assert.equal(info.version?.version, VERSION);
  const features = JSON.parse(Buffer.from(info.features?.value ?? []).toString());
  assert.ok(features.mountOptions.includes("rro"));
  assert.equal(features.linux.namespaces.includes("user"), false);
});

test("the version is the package's", () => {
  assert.equal(JSON.parse(readFileSync("package.json", "utf8")).version, VERSION);
});

test("undoing a start continues after a step that fails, and appends it to the cause", () => {
  const done: string[] = [];
  const fails = () => {
    throw new Error("read-only file system");
  };
  const cause = new HullError("Unavailable", "the daemon does not serve");
  const error = rollBack(cause, [fails, () => done.push("killed"), fails, () => done.push("removed")]);
  assert.deepEqual(done, ["killed", "removed"]);
  assert.ok(error instanceof HullError && error.code === "Unavailable");
  assert.match(error.message, /^the daemon does not serve; undoing it failed: read-only.*; read-only/);
  assert.equal(rollBack(cause, [() => done.push("all")]), cause);
});
