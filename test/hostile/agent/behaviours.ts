import { CALLS } from "./calls.ts";
import type { Evil, Make } from "./evil.ts";
import { FLOODS } from "./floods.ts";

/** What happens to the guest itself. */
const ENDS: Readonly<Record<string, Make>> = {
  /** The kernel panics when PID 1 ends. */
  dies: ({ sys }) => ({ begin: () => sys.exit(1) }),
  resets: ({ sys }) => ({ begin: () => sys.reboot(sys.REBOOT_RESTART) }),
  spins: () => ({
    begin: () => {
      for (;;);
    },
  }),
  "fills-memory": ({ evil }) => ({ begin: () => void fillMemory(evil) }),
  /** Ends the one connection that there is to the agent. */
  "hangs-up": ({ evil }) => ({ begin: () => evil.hangUp() }),
};

/** Every way to behave, by name. */
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
