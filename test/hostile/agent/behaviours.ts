import { CALLS } from "./calls.ts";
import { FLOODS } from "./floods.ts";
import type { HostileAgent, Make } from "./hostile-agent.ts";

/** Behaviours that affect the guest itself. */
const ENDS: Readonly<Record<string, Make>> = {
  /** The kernel panics when PID 1 exits. */
  dies: ({ sys }) => ({ begin: () => sys.exit(1) }),
  resets: ({ sys }) => ({ begin: () => sys.reboot(sys.REBOOT_RESTART) }),
  spins: () => ({
    begin: () => {
      for (;;);
    },
  }),
  "fills-memory": ({ agent }) => ({ begin: () => void fillMemory(agent) }),
  /** Closes the agent's only connection. */
  "hangs-up": ({ agent }) => ({ begin: () => agent.hangUp() }),
};

/** All behaviours by name. */
export const BEHAVIOURS: Readonly<Record<string, Make>> = {
  honest: () => ({}),
  ...CALLS,
  ...FLOODS,
  ...ENDS,
};

async function fillMemory(agent: HostileAgent): Promise<void> {
  const taken: Uint8Array[] = [];
  for (;;) {
    taken.push(new Uint8Array(8 << 20).fill(1));
    await agent.pause(1);
  }
}
