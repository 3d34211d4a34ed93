/** Devices that a kernel has without hardware: the guest's own, under the host's names. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { forEveryRunner, newestLine } from "./fixture.ts";

forEveryRunner(
  "own-devices",
  (runner) => {
    it("are those of the guest's kernel, which answers", async () => {
      // Without an interface, tun answers EBADFD; a node without a driver could not be opened.
      const flags = ["--device", "/dev/net/tun", "--device", "/dev/null"];
      const { code, stdout, stderr } = await runner().sh("ls -l /dev/net/tun; cat /dev/net/tun", { flags });
      assert.match(stdout, /^crw.* 10, 200 .* \/dev\/net\/tun\n$/);
      assert.equal(stderr, "cat: read error: File descriptor in bad state\n");
      assert.equal(code, 1);
    });

    it("are not in containers that did not ask for them", async () => {
      assert.equal((await runner().sh("test ! -e /dev/net/tun")).code, 0);
    });
  },
  ["hull", "runc"],
  newestLine(),
);
