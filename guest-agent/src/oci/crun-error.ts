import { HullError, invalidArgument, notFound } from "../../../src/core/errors.ts";

const MISSING = /executable file `(.*)` not found in \$PATH/;
const UNRUNNABLE =
  /(?:open executable|exec container process(?: \(missing dynamic library\?\))? `.*`|^exec): ?(.*)$/i;

/** Characters of a message that are looked at: it quotes what the container's spec says. */
const LONGEST_MESSAGE = 4096;

/** The messages of crun's log (`--log-format=json`: one object a line with `msg` and `level`), errors only. */
export function errorsOf(log: string): string[] {
  const messages: string[] = [];
  for (const line of log.split("\n")) {
    if (line.trim() === "") continue;
    try {
      const entry = JSON.parse(line) as { msg?: unknown; level?: unknown };
      if (entry.level !== "warning" && typeof entry.msg === "string")
        messages.push(entry.msg.slice(0, LONGEST_MESSAGE));
    } catch {
      messages.push(line.slice(0, LONGEST_MESSAGE)); // crun died while writing, or wrote plain text: better shown than lost
    }
  }
  return messages;
}

/**
 * Why crun failed, as an error for the host. A program that does not exist or cannot be run gets the words that runc
 * uses, since tools and people look for them.
 */
export function crunError(step: string, program: string, log: string, status: number): HullError {
  const messages = errorsOf(log);
  const text = messages.join("; ");
  if (messages.some((message) => MISSING.test(message))) {
    const name = JSON.stringify(program);
    const cause = program.includes("/")
      ? `exec: ${name}: stat ${program}: no such file or directory`
      : `exec: ${name}: executable file not found in $PATH`;
    return notFound(`${step}: ${cause}`);
  }
  const unrunnable = messages
    .map((message) => UNRUNNABLE.exec(message)?.[1])
    .find((cause) => cause !== undefined);
  if (unrunnable !== undefined) {
    return invalidArgument(`${step}: exec: ${JSON.stringify(program)}: ${inRuncsWords(unrunnable)}`);
  }
  return new HullError(
    "Unknown",
    `${step}: ${text === "" ? `crun exited with status ${status} and no message` : text}`,
  );
}

/** crun refuses what is not a regular file with EPERM; runc says the same of it as of a file without the x bits. */
function inRuncsWords(cause: string): string {
  return cause.toLowerCase().replace("operation not permitted", "permission denied");
}
