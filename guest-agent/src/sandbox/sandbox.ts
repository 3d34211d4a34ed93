import { failedPrecondition, invalidArgument } from "../../../src/core/errors.ts";
import type { StartSandboxRequest } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import type { Log } from "../log.ts";
import { checkNetwork, configureNetwork } from "../network/configure.ts";
import { loopbackUp } from "../network/netlink.ts";
import type { Sys } from "../sys.ts";
import { checkShare, mountShare } from "./share.ts";
import { ShareCache } from "./share-cache.ts";
import { setSysctl, sysctlPath } from "./sysctl.ts";

/**
 * Accepts what runc accepts: the kernel only limits the length (HOST_NAME_MAX), and many names have an
 * underscore.
 */
const HOSTNAME = /^[!-~]{1,64}$/;
const FORWARD_TOKEN = /^([0-9a-f]{32})?$/;
const MIN_ENTROPY = 32;
const MAX_ENTROPY = 4096;
const MAX_SHARES = 64;
const MAX_SYSCTLS = 256;

/** Assigns the booted or restored VM to its pod, once: a VM never serves a second pod. */
export class Sandbox {
  readonly #sys: Sys;
  readonly #log: Log;
  readonly #onStart: (request: StartSandboxRequest) => void;
  #started = false;

  /** `onStart` gets the request that is carried out, before anything is changed. */
  constructor(sys: Sys, log: Log, onStart: (request: StartSandboxRequest) => void) {
    this.#sys = sys;
    this.#log = log;
    this.#onStart = onStart;
  }

  /** Throws FailedPrecondition until the VM has been assigned to a pod. */
  requireStarted(): void {
    if (!this.#started) throw failedPrecondition("sandbox: not started");
  }

  /**
   * Sets the VM up for its pod. Checks everything before it changes anything; after a failure the VM must not
   * be used. Rejects with FailedPrecondition if repeated, InvalidArgument, or the error of a step.
   */
  async start(request: StartSandboxRequest): Promise<void> {
    if (this.#started) throw failedPrecondition("sandbox: already started");
    check(request);
    this.#started = true;
    this.#onStart(request);
    const sys = this.#sys;
    // First: nothing may be derived from the clock and the entropy of the template that this VM was cloned
    // from.
    if (request.timeUnixNano > 0n) sys.setClock(request.timeUnixNano);
    sys.addEntropy(request.entropy);
    if (request.hostname !== "") sys.setHostname(request.hostname);
    const machineId = Array.from(sys.random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    sys.mkdirp("/etc", 0o755);
    sys.writeFile("/etc/machine-id", `${machineId}\n`, sys.O_WRONLY | sys.O_CREAT | sys.O_TRUNC, 0o444);
    loopbackUp(sys);
    if (request.shmSize > 0n) {
      const flags = sys.MS_REMOUNT | sys.MS_NOSUID | sys.MS_NODEV;
      sys.mount("shm", "/dev/shm", "tmpfs", flags, `mode=1777,size=${request.shmSize}`);
    }
    for (const share of request.shares) mountShare(sys, share);
    if (request.maxShareFiles > 0) new ShareCache(sys, this.#log, request.maxShareFiles).watch();
    await configureNetwork(sys, this.#log, request);
    for (const [key, value] of Object.entries(request.sysctls)) setSysctl(sys, key, value);
  }
}

function check(request: StartSandboxRequest): void {
  if (request.hostname !== "" && !HOSTNAME.test(request.hostname)) {
    throw invalidArgument(
      `sandbox: hostname ${JSON.stringify(request.hostname.slice(0, 128))}: must be a host name of at most 64 characters without spaces`,
    );
  }
  const entropy = request.entropy.length;
  if (entropy < MIN_ENTROPY || entropy > MAX_ENTROPY) {
    throw invalidArgument(`sandbox: entropy: must be ${MIN_ENTROPY} to ${MAX_ENTROPY} bytes, got ${entropy}`);
  }
  if (request.timeUnixNano < 0n) throw invalidArgument("sandbox: time: before 1970");
  if (request.shares.length > MAX_SHARES) throw invalidArgument(`sandbox: more than ${MAX_SHARES} shares`);
  if (Object.keys(request.sysctls).length > MAX_SYSCTLS)
    throw invalidArgument(`sandbox: more than ${MAX_SYSCTLS} sysctls`);
  if (!FORWARD_TOKEN.test(request.forwardToken))
    throw invalidArgument("sandbox: forward token: must be 32 lower-case hex digits");
  for (const share of request.shares) checkShare(share);
  for (const key of Object.keys(request.sysctls)) sysctlPath(key);
  checkNetwork(request);
}
