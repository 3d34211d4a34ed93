import { findProgram } from "../../host/program.ts";
import { run } from "../../host/run.ts";
import type { Check, CheckContext, Finding } from "./finding.ts";
import { messageOf } from "./finding.ts";

/** Checks the programs that the configuration names. */
export const programs: Check = async (context) => {
  const { hypervisor } = context.config;
  const found = [
    await program("hypervisor.path", hypervisor.path, context),
    await program("hypervisor.virtio_fs_daemon", hypervisor.virtio_fs_daemon, context),
  ];
  if (hypervisor.type === "qemu" && hypervisor.vsock !== "native") {
    found.push(await program("hypervisor.vhost_device_vsock", hypervisor.vhost_device_vsock, context));
  }
  return found;
};

async function program(key: string, value: string, context: CheckContext): Promise<Finding> {
  const name = key.slice("hypervisor.".length);
  try {
    const file = await findProgram(key, value, context);
    return { name, status: "ok", detail: `${file} (${await versionOf(file, "--version", context)})` };
  } catch (thrown) {
    return { name, status: "fail", detail: messageOf(thrown) };
  }
}

const TOOLS: readonly { readonly tool: string; readonly flag: string }[] = [
  { tool: "ip", flag: "-V" },
  { tool: "tc", flag: "-V" },
  ...["mount", "umount", "losetup", "nsenter", "setpriv", "prlimit", "unshare", "flock"].map((tool) => ({
    tool,
    flag: "--version",
  })),
];

/** Checks the system tools that hull runs on the host. */
export const tools: Check = async (context) =>
  await Promise.all(
    TOOLS.map(async ({ tool, flag }): Promise<Finding> => {
      try {
        return { name: tool, status: "ok", detail: await versionOf(tool, flag, context) };
      } catch (thrown) {
        return { name: tool, status: "fail", detail: problemOf(tool, thrown) };
      }
    }),
  );

/** Reports containerd's version, which need not be on this PATH. */
export const containerd: Check = async (context) => {
  try {
    return [
      { name: "containerd", status: "ok", detail: await versionOf("containerd", "--version", context) },
    ];
  } catch (thrown) {
    return [{ name: "containerd", status: "missing", detail: problemOf("containerd", thrown) }];
  }
};

/** Returns the error's message without the tool's name, which is already the finding's. */
const problemOf = (tool: string, thrown: unknown) => messageOf(thrown).replace(`${tool}: `, "");

/** Returns the first line of a program's version output. */
async function versionOf(file: string, flag: string, { deadline }: CheckContext): Promise<string> {
  const output = await run([file, flag], deadline.shorter(5_000, `${file} ${flag}`));
  return output.split("\n", 1)[0]?.trim() || "unknown version";
}
