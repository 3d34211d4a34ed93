/** What a process that SIGKILL has ended exits with: 128 + 9, as a shell reports it. Also of one whose VM was lost. */
export const KILLED_STATUS = 137;
