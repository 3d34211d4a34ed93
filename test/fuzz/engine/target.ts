/** An entry point for untrusted bytes, and what must hold for any of them. */
export interface Target {
  readonly name: string;
  /** Well-formed inputs, from which all others are derived. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Tokens of the format, which are sometimes inserted as a whole. */
  readonly tokens?: readonly string[];
  /** Maximum length of an input in bytes; default 4096. Time grows with length. */
  readonly longest?: number;
  /**
   * Throws if something does not hold. Returns true if the input was accepted, false if it was correctly
   * refused. Closes whatever it opens before it returns.
   */
  run(input: Buffer): boolean | Promise<boolean>;
  /** Frees what all inputs share. */
  close?(): Promise<void>;
}

export const LONGEST = 4096;
