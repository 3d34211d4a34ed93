import { HullError, invalidArgument, notFound } from "../../../src/core/errors.ts";

const MISSING = /executable file `(.*)` not found in \$PATH/;
const UNRUNNABLE =
  /(?:open executable|exec container process(?: \(missing dynamic library\?\))? `.*`|^exec): ?(.*)$/i;

/** In characters; a message may quote long strings of the container's spec. */
const LONGEST_MESSAGE = 4096;

/**
 * Returns the error messages of crun's log (`--log-format=json`: one object per line with `msg` and `level`).
 */
export function errorsOf(log: string): string[] {
  const messages: string[] = [];
  for (const line of log.split("\n")) {
    if (line.trim() === "") continue;
    try {
      const entry = JSON.parse(line) as { msg?: unknown; level?: unknown };
      if (entry.level !== "warning" && typeof entry.msg === "string")
        messages.push(entry.msg.slice(0, LONGEST_MESSAGE));
    } catch {
      messages.push(line.slice(0, LONGEST_MESSAGE)); // plain text, or crun died while writing
    }
  }
  return messages;
}

/**
 * Returns why crun failed, as an error for the host. For a program that does not exist or cannot be executed
 * it uses runc's message, which tools and users search for.
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
    return invalidArgument(`${step}: exec: ${JSON.stringify(program)}: ${asRuncReports(unrunnable)}`);
  }
  return new HullError(
    "Unknown",
    `${step}: ${text === "" ? `crun exited with status ${status} and no message` : text}`,
  );
}

/**
 * For a file that is not regular crun reports EPERM; runc reports the same as for a file that is not
 * executable.
 */
function asRuncReports(cause: string): string {
  return cause.toLowerCase().replace("operation not permitted", "permission denied");
}
