/** Attaches a file to a loop device, prints the device's path, and lives on: for a test that kills it. */
import { Deadline } from "../core/deadline.ts";
import { attachLoop } from "./loop-device.ts";

const nothing = async () => undefined;
const ledger = { record: async () => ({ update: nothing, forget: nothing }) };
const mounts = { detachLoop: async () => false };
const attaching = attachLoop(process.argv[2] ?? "", false, { ledger, mounts }, Deadline.none());
void attaching.then((loop) => {
  process.stdout.write(loop.path);
  setInterval(() => loop, 1_000); // what nobody refers to any more is closed
});
