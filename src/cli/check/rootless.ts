import { PathAccess } from "../../host/path-access.ts";
import { dropPrivileges } from "../../host/process-user.ts";
import { findProgram } from "../../host/program.ts";
import { run } from "../../host/run.ts";
import { type Check, messageOf } from "./finding.ts";

/** Checks that the VMM can run as an unprivileged user, and that this user can read the VMM's files. */
export const rootless: Check = async ({ config, installation, path, deadline }) => {
  const { hypervisor } = config;
  const name = "rootless";
  if (!hypervisor.rootless) return [{ name, status: "ok", detail: "off: the VMM runs as root" }];
  const user = { id: hypervisor.rootless_first_id };
  const access = new PathAccess(user, 3);
  try {
    const vmm = await findProgram("hypervisor.path", hypervisor.path, { installation, path });
    await access.addFile(vmm, "execute");
    for (const file of [hypervisor.kernel, hypervisor.initrd]) await access.addFile(file);
    await run(["setpriv", ...dropPrivileges(user), "--", "true"], deadline);
    return [{ name, status: "ok", detail: `the VMM runs as a user with an id of ${user.id} or higher` }];
  } catch (thrown) {
    const advice =
      "set hypervisor.rootless: false, or hypervisor.rootless_first_id to ids that this host has";
    return [{ name, status: "fail", detail: messageOf(thrown), advice }];
  } finally {
    await access.close();
  }
};
