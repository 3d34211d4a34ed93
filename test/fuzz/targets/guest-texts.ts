import assert from "node:assert/strict";
import { crunError } from "../../../guest-agent/src/oci/crun-error.ts";
import { sysctlPath } from "../../../guest-agent/src/sandbox/sysctl.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

/** crun's log, which quotes strings of the container. */
export const crunLog: Target = {
  name: "crun-log",
  seeds: [
    '{"msg":"executable file `nope` not found in $PATH","level":"error"}\n{"msg":"w","level":"warning"}\n',
    '{"msg":"exec container process `/bin/x`: Permission denied","level":"error"}\n',
    "open executable: Operation not permitted",
  ],
  tokens: ["exec container process `", "` ", "executable file `", "not found in $PATH", "\n", "exec:"],
  run(input) {
    const { code } = crunError("start", "sh", input.toString("utf8"), 1);
    assert.ok(["NotFound", "InvalidArgument", "Unknown"].includes(code));
    return code !== "Unknown";
  },
};

/** A sysctl's key: its file must be below /proc/sys. */
export const sysctl: Target = {
  name: "sysctl",
  seeds: ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/forwarding", "kernel.msgmax"],
  tokens: ["..", "./", "/.", "."],
  run(input) {
    try {
      const path = sysctlPath(input.toString("utf8"));
      assert.ok(path.startsWith("/proc/sys/"));
      assert.ok(!path.split("/").some((name, index) => index > 0 && ["", ".", ".."].includes(name)));
      return true;
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};
