/** The accelerator of VMs that a test boots by itself: `kvm` in the lab (hack/test), elsewhere `tcg`. */
export const TEST_ACCEL = process.env.HULL_TEST_ACCEL === "kvm" ? "kvm" : "tcg";

/** The CPU model for it. */
export const TEST_CPU_MODEL = TEST_ACCEL === "kvm" ? "host" : "max";
