/** One entry for bytes of others, and what must hold whatever they are. */
export interface Target {
  readonly name: string;
  /** Well-formed inputs, from which all others are made. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Words of the format, put in as a whole now and then. */
  readonly tokens?: readonly string[];
  /** Bytes; 4096 where it says nothing. The time of an input goes with its length. */
  readonly longest?: number;
  /**
   * Throws where something does not hold. True: the input was taken. False: it was refused, as it must be. Whatever it
   * opens it closes before it answers.
   */
  run(input: Buffer): boolean | Promise<boolean>;
  /** Frees what all inputs share. */
  close?(): Promise<void>;
}

export const LONGEST = 4096;
