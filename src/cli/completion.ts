import type { Command } from "commander";
import { KEYS } from "../config/schema/schema.ts";
import { invalidArgument } from "../core/errors.ts";

/** A point in a command line: the words before it, and the possible next words. */
interface Point {
  readonly words: string;
  readonly next: readonly { readonly word: string; readonly about: string }[];
}

/**
 * Returns a shell's completion script for a command tree; file names are the fallback. Throws
 * InvalidArgument.
 */
export function completion(shell: string, program: Command): string {
  const points = [...pointsOf(program, program.name())];
  switch (shell) {
    case "bash":
      return bash(points);
    case "zsh":
      return zsh(points);
    case "fish":
      return fish(points);
    default:
      throw invalidArgument(`no completion for ${JSON.stringify(shell)}; choose bash, zsh or fish`);
  }
}

function* pointsOf(command: Command, words: string): Generator<Point> {
  const next = [
    ...command.commands.map((child) => ({ word: child.name(), about: child.summary() })),
    ...argumentsOf(words),
    ...command.options.flatMap((option) => {
      return option.long ? [{ word: option.long, about: option.description }] : [];
    }),
    { word: "--help", about: "help" },
  ];
  yield { words, next };
  for (const child of command.commands) yield* pointsOf(child, `${words} ${child.name()}`);
}

/** Arguments with a fixed set of values. */
function argumentsOf(words: string): { word: string; about: string }[] {
  if (words === "hull config explain") return [...KEYS].map(([word, { about }]) => ({ word, about }));
  if (words === "hull completion") return ["bash", "zsh", "fish"].map((word) => ({ word, about: "shell" }));
  return [];
}

const wordsOf = ({ next }: Point): string => next.map(({ word }) => word).join(" ");

/** Shell code for bash and zsh that finds the point: it follows the words that are commands. */
const follow = (points: readonly Point[], array: string): string => `\
  for word in ${array}; do
    case "$point $word" in
      ${points
        .slice(1)
        .map(({ words }) => `"${words}"`)
        .join(" | ")}) point="$point $word" ;;
    esac
  done`;

function bash(points: readonly Point[]): string {
  return `# bash completion of hull: source <(hull completion bash)
_hull() {
  local point=hull word words=
${follow(points, `"\${COMP_WORDS[@]:1:COMP_CWORD-1}"`)}
  case "$point" in
${points.map((point) => `    "${point.words}") words="${wordsOf(point)}" ;;`).join("\n")}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _hull hull
`;
}

function zsh(points: readonly Point[]): string {
  const describe = ({ word, about }: { word: string; about: string }) =>
    `'${`${word.replaceAll(":", "\\:")}:${about}`.replaceAll("'", "'\\''")}'`;
  return `#compdef hull
# zsh completion of hull: hull completion zsh > "\${fpath[1]}/_hull"
_hull() {
  local point=hull word
  local -a next
${follow(points, `"\${words[@]:1:$((CURRENT - 2))}"`)}
  case "$point" in
${points.map((point) => `    "${point.words}") next=(${point.next.map(describe).join(" ")}) ;;`).join("\n")}
  esac
  _describe hull next || _files
}
compdef _hull hull
`;
}

function fish(points: readonly Point[]): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = points.flatMap(({ words, next }) => {
    const here = `-n ${quote(`__hull_at ${words}`)}`;
    return next.map(({ word, about }) => {
      return word.startsWith("--")
        ? `complete -c hull ${here} -l ${word.slice(2)} -d ${quote(about)}`
        : `complete -c hull ${here} -a ${quote(word)} -d ${quote(about)}`;
    });
  });
  return `# fish completion of hull: hull completion fish | source
function __hull_at
  set -l words (commandline -opc | string match -v -- '-*')
  test "$words" = "$argv"
end
${lines.join("\n")}
`;
}
