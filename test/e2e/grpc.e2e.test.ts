/** `shim.protocol: grpc` works if containerd supports it, and is otherwise refused with an explanation. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { it } from "node:test";
import { forEveryRunner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

forEveryRunner(
  "grpc",
  (runner, _runtime, line) => {
    it(line === "1.7" ? "runs a container over gRPC" : "refuses gRPC", async () => {
      const file = join(runner().containerd.directory, "grpc.yaml");
      await writeConfig(file, { shim: { protocol: "grpc" } });
      const result = await runner().sh("echo out; exit 3", { flags: ["--runtime-config-path", file] });
      if (line === "1.7") {
        assert.equal(result.code, 3, result.stderr);
        assert.equal(result.stdout, "out\n");
        assert.match(await runner().containerd.log(400), /protocol=grpc/);
      } else {
        assert.equal(result.code, 1);
        assert.match(result.stderr, /shim\.protocol: grpc is set, which containerd .* does not support/);
      }
    });
  },
  ["hull"],
);
