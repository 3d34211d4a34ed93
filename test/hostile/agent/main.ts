/**
 * PID 1 of a compromised guest: the real agent, with its system calls, its server's handlers and its
 * connections controlled by `HostileAgent`. These are replaced from outside, so that the product contains nothing of
 * this.
 */
// biome-ignore lint/style/useNodejsImportProtocol: the C module of that name, not Node's
import * as sys from "sys";
import { boot } from "../../../guest-agent/src/boot/boot.ts";
import { consoleLog } from "../../../guest-agent/src/log.ts";
import type { ServiceDefinition } from "../../../src/ttrpc/definition.ts";
import { type Handlers, Server } from "../../../src/ttrpc/server.ts";
import type { Transport } from "../../../src/ttrpc/transport.ts";
import { BEHAVIOURS } from "./behaviours.ts";
import { HostileAgent } from "./hostile-agent.ts";

const log = consoleLog(sys);
const agent = new HostileAgent(sys, BEHAVIOURS);
const { register, serve } = Server.prototype;

Server.prototype.register = function <D extends ServiceDefinition>(
  this: Server,
  definition: D,
  handlers: Handlers<D>,
  options?: { as?: string[] },
): void {
  register.call(this, definition, agent.handlers(handlers as Handlers<ServiceDefinition>), options);
};

Server.prototype.serve = function (this: Server, transport: Transport): void {
  agent.connected(transport);
  serve.call(this, transport);
};

sys.onUncaught((error) => {
  log("fatal", error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error));
  sys.reboot(sys.REBOOT_POWER_OFF);
});
boot(agent.sys, log, "hostile");
sys.run();
