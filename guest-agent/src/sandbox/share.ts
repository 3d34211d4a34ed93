import { HullError, invalidArgument } from "../../../src/core/errors.ts";
import type { Share } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { checkPath } from "../names.ts";
import type { Sys } from "../sys.ts";

/** Shares are mounted below this directory only, so that none hides a file of the guest. */
const SHARE_PARENT = "/run/hull";

const TAG = /^[A-Za-z0-9_.-]{1,36}$/;

/** Throws InvalidArgument for an invalid virtio-fs tag (at most 36 bytes) or a target outside /run/hull. */
export function checkShare(share: Share): void {
  if (!TAG.test(share.tag))
    throw invalidArgument(`share ${JSON.stringify(share.tag.slice(0, 64))}: not a virtio-fs tag`);
  checkPath(`share ${share.tag}: target`, share.target);
  if (!share.target.startsWith(`${SHARE_PARENT}/`)) {
    throw invalidArgument(`share ${share.tag}: target ${share.target}: must be below ${SHARE_PARENT}`);
  }
}

/**
 * Mounts a virtio-fs share, with nodev: device nodes on it are the host's. Throws InvalidArgument or
 * Internal.
 */
export function mountShare(sys: Sys, share: Share): void {
  checkShare(share);
  try {
    sys.mkdirp(share.target, 0o755);
    sys.mount(share.tag, share.target, "virtiofs", sys.MS_NODEV | (share.readOnly ? sys.MS_RDONLY : 0), "");
  } catch (error) {
    throw HullError.wrap(`share ${share.tag}: mount at ${share.target}`, error, "Internal");
  }
}
