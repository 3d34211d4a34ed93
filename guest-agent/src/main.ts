/** PID 1 of the guest. The only file that imports the real system calls. */
// biome-ignore lint/style/useNodejsImportProtocol: the C module of that name, not Node's
import * as sys from "sys";
import { VERSION } from "../../src/core/version.ts";
import { boot } from "./boot/boot.ts";
import { HOLDER_ARGUMENT, holdPidNamespace } from "./container/pod-pid-namespace.ts";
import { consoleLog } from "./log.ts";
import { WRITE_BACK_ARGUMENT, writeBackHere } from "./storage/write-back.ts";

const log = consoleLog(sys);

/** Logs why PID 1 cannot continue, to the console whose tail the host keeps, and powers the VM off. */
function fatal(error: unknown): void {
  log("fatal", error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error));
  sys.sync();
  sys.reboot(sys.REBOOT_POWER_OFF);
}

const [, role, path = ""] = sys.argv();
if (role === HOLDER_ARGUMENT) holdPidNamespace(sys);
else if (role === WRITE_BACK_ARGUMENT) writeBackHere(sys, path);
else {
  sys.onUncaught(fatal);
  try {
    boot(sys, log, VERSION);
    sys.run();
  } catch (error) {
    fatal(error);
  }
}
