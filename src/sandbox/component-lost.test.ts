import assert from "node:assert/strict";
import { test } from "node:test";
import { deferred } from "../core/deferred.ts";
import type { ProcessExit } from "../host/process-launcher.ts";
import type { VmExit } from "../hypervisor/hypervisor.ts";
import { firstLost } from "./component-lost.ts";

const VM_END: VmExit = { reason: "qemu ended", requested: false, console: "Kernel panic", stderr: "" };

function helperEnd(signal: NodeJS.Signals | null): ProcessExit {
  return { code: signal ? null : 0, signal, reason: "virtiofsd ended", stderr: "", requested: false };
}

test("a helper that exits with its VMM is not the cause, even if its exit is seen first", async () => {
  const vm = deferred<VmExit>();
  const helper = deferred<ProcessExit>();
  const lost = firstLost({ exited: vm.promise }, [{ exited: helper.promise }]);
  helper.resolve(helperEnd(null));
  setImmediate(() => vm.resolve(VM_END));
  assert.deepEqual(await lost, {
    reason: "qemu ended",
    console: "; the guest's last console lines:\nKernel panic",
  });
});

test("a helper that is killed is the cause at once", async () => {
  const lost = firstLost({ exited: new Promise(() => undefined) }, [
    { exited: new Promise(() => undefined) },
    { exited: Promise.resolve(helperEnd("SIGKILL")) },
  ]);
  assert.deepEqual(await lost, { reason: "virtiofsd ended", console: "" });
});

test("a helper that exits by itself is the cause if the VMM keeps running", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const lost = firstLost({ exited: new Promise(() => undefined) }, [
    { exited: Promise.resolve(helperEnd(null)) },
  ]);
  await new Promise(setImmediate);
  t.mock.timers.tick(60_000);
  assert.deepEqual(await lost, { reason: "virtiofsd ended", console: "" });
});
