import { HullError, invalidArgument } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { DaemonBinary } from "./daemon-binary.ts";
import { remove } from "./delete.ts";
import { type Flags, flagList, parseFlags } from "./flags.ts";
import { runtimeInfo } from "./info.ts";
import { RUNTIME_NAME } from "./runtime-name.ts";
import { start } from "./start.ts";
import { type Sys, writeAll } from "./sys.ts";

const usage = () => `containerd starts this program: ${RUNTIME_NAME} is the runtime's name.
usage: containerd-shim-hull-v2 -namespace NS -id ID [FLAG]... start|delete
       containerd-shim-hull-v2 -info | -version
flags:
${flagList()
  .map((flag) => `  ${flag.usage.padEnd(22)}${flag.about}`)
  .join("\n")}
`;

/** Bytes of `start`'s largest input; it usually has a few hundred, and some kilobytes with an options document. */
const INPUT_LIMIT = 1 << 20;

/** Runs the launcher and returns its exit status: 0, 1 for a failure, 2 for an invalid command line. */
export function runLauncher(sys: Sys, args: readonly string[]): number {
  let flags: Flags;
  try {
    flags = parseFlags(args);
    if (!flags.version && !flags.info && flags.action !== "start" && flags.action !== "delete") {
      throw invalidArgument(flags.action ? `no such action: ${flags.action}` : "no action given");
    }
  } catch (error) {
    writeAll(sys, 2, `hull: ${oneLine(error)}\n${usage()}`);
    return 2;
  }
  try {
    writeAll(sys, 1, run(sys, flags));
    return 0;
  } catch (error) {
    writeAll(sys, 2, `hull: ${flags.action || "info"} ${flags.id.slice(0, 80)}: ${oneLine(error)}\n`);
    return 1;
  }
}

/** Returns what to print on stdout. */
function run(sys: Sys, flags: Flags): string | Uint8Array {
  if (flags.version) return `containerd-shim-hull-v2 ${VERSION}\n`;
  if (flags.info) return runtimeInfo();
  const binary = DaemonBinary.ofLauncher(sys);
  if (flags.action === "start") return start(binary, flags, readInput(sys));
  return remove(binary, flags);
}

/** Reads standard input to its end. */
function readInput(sys: Sys): Uint8Array {
  sys.setNonblock(0, false);
  let input = new Uint8Array(4096);
  let length = 0;
  for (;;) {
    if (length === input.length) {
      if (length >= INPUT_LIMIT) throw invalidArgument(`standard input has more than ${INPUT_LIMIT} bytes`);
      const larger = new Uint8Array(length * 2);
      larger.set(input);
      input = larger;
    }
    const count = sys.read(0, input, length, input.length - length);
    if (count <= 0) return input.subarray(0, length);
    length += count;
  }
}

/** containerd quotes all of stderr in its error, so it is one line. */
function oneLine(error: unknown): string {
  return HullError.from(error)
    .message.split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join(" | ");
}
