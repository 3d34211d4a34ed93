import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";

/** The guest kernel says this first of all. */
const SIGN_OF_LIFE = "Linux version";

/**
 * Why KVM cannot run a guest here; undefined when it can. /dev/kvm that opens proves nothing (a nested or
 * paravirtual-only KVM hangs): a kernel is started with QEMU and has to speak.
 */
export async function kvmObstacle(kernel: string, ms = 20_000): Promise<string | undefined> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/kvm cannot be opened";
  }
  const argv = ["-nodefaults", "-no-reboot", "-display", "none", "-machine", "q35,accel=kvm", "-m", "128M"];
  argv.push("-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1");
  const qemu = spawn("qemu-system-x86_64", argv, { stdio: ["ignore", "pipe", "pipe"] });
  return await new Promise((resolve) => {
    let output = "";
    const settle = (obstacle: string | undefined) => {
      clearTimeout(timer);
      qemu.kill("SIGKILL");
      resolve(obstacle);
    };
    const timer = setTimeout(() => settle(`no word of a guest kernel under KVM within ${ms} ms`), ms);
    const read = (data: Buffer) => {
      output = (output + data.toString("latin1")).slice(-4096);
      if (output.includes(SIGN_OF_LIFE)) settle(undefined);
    };
    qemu.stdout.on("data", read);
    qemu.stderr.on("data", read);
    qemu.once("error", (error) => settle(`qemu, which tries KVM out, does not start: ${error.message}`));
    qemu.once("exit", () => settle(`a guest under KVM ended at once: ${output.trim().split("\n").at(-1)}`));
  });
}
