/** The caller's variables that a command in the lab gets, in addition to hull's own. */
const PASSED_ON = ["PATH", "HOME", "LANG", "TERM", "XDG_CACHE_HOME", "CC"];

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Returns a shell command that runs `argv` in the caller's directory, with its environment. */
export function asCaller(argv: readonly string[]): string {
  const variables = Object.entries(process.env)
    .filter(([name]) => PASSED_ON.includes(name) || (name.startsWith("HULL_") && name !== "HULL_LAB_DIR"))
    .map(([name, value]) => quoted(`${name}=${value}`));
  return `cd ${quoted(process.cwd())} && exec env ${[...variables, ...argv.map(quoted)].join(" ")}`;
}
