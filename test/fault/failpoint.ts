/**
 * Failpoints: text that describes what happens at a place in a program. The grammar is that of containerd's
 * pkg/failpoint (after fail(9) of FreeBSD), with two more types:
 *
 *   <count>*<type>[(<argument>)][-><more terms>]
 *
 *   off            nothing
 *   error(text)    the step fails; if the text starts with an errno's name, with that errno
 *   panic(text)    the program exits with status 1
 *   delay(ms)      the program blocks for this many milliseconds
 *   kill(who)      a process gets SIGKILL
 *   stop(who)      a process gets SIGSTOP
 *
 * `2*off->1*kill(qemu)` does nothing the first two times, kills QEMU the third time, and does nothing after
 * that.
 */
export type Action =
  | { readonly type: "off" }
  | { readonly type: "error" | "panic"; readonly text: string }
  | { readonly type: "delay"; readonly ms: number }
  | { readonly type: "kill" | "stop"; readonly who: string };

export interface Term {
  /** How many times it is done before the next term applies. */
  readonly count: number;
  readonly action: Action;
}

const TERM = /^(\d+)\*([a-z]+)(?:\(([^)]*)\))?$/;

/** Parses terms. Throws an Error that names the problem. */
export function parseTerms(text: string): Term[] {
  return text.split("->").map((part) => {
    const [, count, type = "", argument] = TERM.exec(part) ?? [];
    if (count === undefined)
      throw new Error(`failpoint ${text}: ${part || "nothing"} is not <count>*<type>(<argument>)`);
    return { count: Number(count), action: actionOf(text, type, argument) };
  });
}

function actionOf(text: string, type: string, argument: string | undefined): Action {
  const wanted = (): string => {
    if (!argument) throw new Error(`failpoint ${text}: ${type} needs an argument`);
    return argument;
  };
  switch (type) {
    case "off":
      if (argument !== undefined) throw new Error(`failpoint ${text}: off takes no argument`);
      return { type };
    case "error":
    case "panic":
      return { type, text: wanted() };
    case "delay":
      if (!/^\d+$/.test(wanted()))
        throw new Error(`failpoint ${text}: ${argument} is not a number of milliseconds`);
      return { type, ms: Number(argument) };
    case "kill":
    case "stop":
      return { type, who: wanted() };
    default:
      throw new Error(`failpoint ${text}: there is no type ${type}`);
  }
}

/** Returns the terms as text. */
export function formatTerms(terms: readonly Term[]): string {
  return terms.map(({ count, action }) => `${count}*${formatAction(action)}`).join("->");
}

export function formatAction(action: Action): string {
  switch (action.type) {
    case "off":
      return "off";
    case "delay":
      return `delay(${action.ms})`;
    case "kill":
    case "stop":
      return `${action.type}(${action.who})`;
    default:
      return `${action.type}(${action.text})`;
  }
}

/** The terms of a place, used up from first to last. */
export class Failpoint {
  readonly #left: { count: number; action: Action }[];

  constructor(terms: readonly Term[]) {
    this.#left = terms.map((term) => ({ ...term }));
  }

  /** Returns what to do this time. */
  next(): Action {
    const term = this.#left.find(({ count }) => count > 0);
    if (!term) return { type: "off" };
    term.count -= 1;
    return term.action;
  }
}
