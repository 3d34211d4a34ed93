import { boolean, duration, integer, section } from "../key.ts";

const since = "0.1.0";

/** The agent inside the guest and the connection to it. */
export const agent = section("The agent inside the guest, and the connection to it.", {
  boot_timeout: duration({
    about: "How long the guest may take from the VMM's start to the agent's first response.",
    min: 1_000,
    max: 600_000,
    default: 60_000,
    since,
    annotation: true,
  }),
  dial_timeout: duration({
    about: "The timeout for connecting a stream to the guest.",
    min: 10,
    max: 60_000,
    default: 10_000,
    since,
    annotation: true,
  }),
  request_timeout: duration({
    about: "The timeout of requests to the agent for which containerd set none.",
    min: 1_000,
    max: 3_600_000,
    default: 60_000,
    since,
    annotation: true,
  }),
  enable_debug: boolean({
    about: "Log every request to the agent on the guest's console.",
    default: false,
    since,
    annotation: true,
    planned: true,
  }),
  debug_console_enabled: boolean({
    about: "Serve a guest shell on a vsock port, for root on the host.",
    default: false,
    since,
    annotation: true,
    planned: true,
  }),
  debug_console_port: integer({
    about: "The vsock port of the debug console.",
    min: 1026,
    max: 65_535,
    default: 1026,
    since,
    planned: true,
  }),
});
