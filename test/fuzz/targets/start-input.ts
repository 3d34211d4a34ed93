import assert from "node:assert/strict";
import { decodeRuntimeOptions } from "../../../src/config/parse/runtime-options.ts";
import { parseFlags } from "../../../src/shim/bootstrap/flags.ts";
import { MessageWriter } from "../../../src/shim/bootstrap/protobuf.ts";
import { type BootstrapRecord, decodeRecord, encodeRecord } from "../../../src/shim/bootstrap/record.ts";
import { parseStartInput } from "../../../src/shim/bootstrap/start-input.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

const options = new MessageWriter()
  .bytes(1, "t")
  .bytes(2, "/etc/hull/c.yaml")
  .bytes(3, "version: 1\n")
  .finish();
const any = new MessageWriter().bytes(1, "x/runtimeoptions.v1.Options").bytes(2, options).finish();
const bootstrap = new MessageWriter()
  .bytes(1, "c1")
  .bytes(2, "k8s.io")
  .varint(3, -4)
  .bytes(4, "2.3.0")
  .bytes(5, "/run/containerd/containerd.sock.ttrpc")
  .bytes(6, "/run/containerd/containerd.sock")
  .bytes(7, "/usr/bin/containerd")
  .bytes(8, new MessageWriter().bytes(1, any).finish())
  .finish();

/** containerd's input for the launcher, through `bootstrap.json` to the daemon's options. */
export const startInput: Target = {
  name: "start-input",
  seeds: [bootstrap, any, options],
  tokens: ["runtimeoptions.v1.Options", "containerd.runc.v1.Options", "\x0a\x02c1", "\x12\x06k8s.io"],
  run(input) {
    try {
      const { options: given, logLevel, ...others } = parseStartInput(input, "k8s.io", "c1");
      const { grpcAddress, ttrpcAddress, containerdVersion } = others;
      const record: BootstrapRecord = {
        ...{ namespace: "k8s.io", id: "c1", bundle: "/b", publishBinary: others.containerdBinary },
        ...{ grpcAddress, ttrpcAddress, containerdVersion, logLevel: logLevel ?? "info", options: given },
      };
      const again = decodeRecord(encodeRecord(record));
      const plain = given && { ...given, value: Uint8Array.from(given.value) };
      assert.deepEqual(
        again,
        { ...record, options: plain },
        "the daemon reads something else than the launcher wrote",
      );
      decodeRuntimeOptions(again.options);
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};

const KEYS = Object.keys(parseFlags([]));

/** The launcher's command line, one argument per line. */
export const flags: Target = {
  name: "flags",
  seeds: [
    "-namespace\nk8s.io\n-id\nc1\n-address\n/run/containerd/containerd.sock\n-publish-binary\n/usr/bin/containerd\nstart",
    "--namespace=n\n--id=c1\n-bundle=/b\n-debug=true\n-v\ndelete",
  ],
  tokens: ["-", "--", "=", "\n", "-debug", "-__proto__=1", "-toString=1", "-constructor"],
  run(input) {
    const args = input.toString("utf8").split("\n");
    try {
      const parsed = parseFlags(args);
      assert.deepEqual(Object.keys(parsed), KEYS, "an undefined flag");
      for (const value of Object.values(parsed)) assert.ok(["string", "boolean"].includes(typeof value));
      const given = [parsed.namespace, parsed.id, parsed.address, parsed.bundle, parsed.action];
      assert.ok(given.every((value) => value === "" || args.some((arg) => arg.endsWith(value))));
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};
