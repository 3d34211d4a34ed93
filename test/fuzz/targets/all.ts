import type { Target } from "../engine/target.ts";
import { agentAnswers } from "./agent-answers.ts";
import { cloudHypervisorApi, cloudHypervisorEvents } from "./cloud-hypervisor.ts";
import { annotations, configBody, configFile } from "./config.ts";
import { consoleBytes } from "./console.ts";
import { crunLog, sysctl } from "./guest-texts.ts";
import { cgroupPath, ipAnswers, mountinfo, stdioUri } from "./host-texts.ts";
import { ledger } from "./ledger.ts";
import { ociSpec, update } from "./oci-spec.ts";
import { podConfig } from "./pod-config.ts";
import { qmp } from "./qmp.ts";
import { flags, startInput } from "./start-input.ts";
import { stats } from "./stats.ts";
import { ttrpcTargets } from "./ttrpc.ts";
import { ttrpcFrames } from "./ttrpc-frames.ts";
import { vsockAnswer } from "./vsock-answer.ts";

/** Resolves with all targets in TypeScript. */
export async function allTargets(): Promise<Target[]> {
  return [
    ...[consoleBytes, stats, crunLog, sysctl, vsockAnswer, ttrpcFrames, ...(await ttrpcTargets())],
    await agentAnswers(),
    ...[qmp, cloudHypervisorApi, cloudHypervisorEvents],
    ...[ociSpec, update, podConfig, configFile, configBody, annotations, startInput, flags],
    ...[mountinfo, cgroupPath, stdioUri, ipAnswers, ledger],
  ];
}
