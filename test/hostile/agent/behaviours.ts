import { CALLS } from "./calls.ts";
import type { Evil, Make } from "./evil.ts";
import { FLOODS } from "./floods.ts";

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
  "fills-memory": ({ evil }) => ({ begin: () => void fillMemory(evil) }),
  /** Closes the agent's only connection. */
  "hangs-up": ({ evil }) => ({ begin: () => evil.hangUp() }),
};

/** All behaviours by name. */
export const BEHAVIOURS: Readonly<Record<string, Make>> = {
  honest: () => ({}),
  ...CALLS,
  ...FLOODS,
  ...ENDS,
};

async function fillMemory(evil: Evil): Promise<void> {
  const taken: Uint8Array[] = [];
  for (;;) {
    taken.push(new Uint8Array(8 << 20).fill(1));
    await evil.pause(1);
  }
}
