import assert from "node:assert/strict";
import { test } from "node:test";
import { fitOptions, splitOptions } from "./mount-options.ts";

test("options are flags of mount(2) or the file system's; those for mount(8) are dropped", () => {
  assert.deepEqual(splitOptions([]), { flags: 0, rest: [] });
  assert.deepEqual(splitOptions(["ro", "noatime", "lowerdir=/a:/b", "nosuid", "index=off"]), {
    flags: 1 | 2 | 1024,
    rest: ["lowerdir=/a:/b", "index=off"],
  });
  assert.equal(splitOptions(["ro", "rw"]).flags, 0);
  assert.equal(splitOptions(["rw", "ro"]).flags, 1);
  assert.deepEqual(splitOptions(["defaults", "x-systemd.automount", "nofail", "", "constructor"]), {
    flags: 0,
    rest: ["constructor"],
  });
});

test("options that fit are unchanged, longer ones are relative to the common directory of the layers", () => {
  assert.deepEqual(fitOptions(["size=1", "mode=0"]), { options: "size=1,mode=0", directory: "/" });
  const names = Array.from({ length: 100 }, (_, index) => `${index}`);
  const layers = names.map((name) => `/layers/${"x".repeat(60)}/${name}`).join(":");
  assert.deepEqual(fitOptions([`lowerdir=${layers}`, "ro"]), {
    options: `lowerdir=${names.join(":")},ro`,
    directory: `/layers/${"x".repeat(60)}`,
  });
});

test("options that cannot be made to fit are InvalidArgument", () => {
  const lower = Array.from({ length: 100 }, (_, index) => `/l/${index}${"x".repeat(60)}`).join(":");
  const tooLong = { code: "InvalidArgument", message: /too many layers/ };
  assert.throws(() => fitOptions([`lowerdir=${lower}`]), tooLong);
  assert.throws(() => fitOptions(["x".repeat(5000)]), tooLong);
});
