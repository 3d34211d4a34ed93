import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE, locked } from "../cache.ts";
import { run } from "../run.ts";
import { machineMirror } from "./mirror.ts";

/** The directory of Debian's packages and package lists in the cache. */
export const DEBIAN = join(CACHE, "debian");

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Returns apt's configuration: all files in the directory `state`, the machine's proxies and certificates, no hooks. */
function configuration(state: string): string {
  const acquire = run("apt-config", ["dump", "Acquire"])
    .split("\n")
    .filter((line) => /^Acquire::[a-z]+::[^ ]+ "/.test(line));
  return [
    ...acquire,
    `Dir::Etc::main "${state}/none";`,
    `Dir::Etc::parts "${state}/parts";`,
    `Dir::Etc::sourcelist "${state}/sources.list";`,
    `Dir::Etc::sourceparts "${state}/parts";`,
    `Dir::Etc::preferencesparts "${state}/parts";`,
    `Dir::Etc::preferences "${state}/none";`,
    `Dir::State "${state}";`,
    `Dir::State::lists "${state}/lists";`,
    `Dir::State::status "${state}/status";`,
    `Dir::Cache "${state}";`,
    `Dir::Cache::archives "${state}/archives";`,
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    // A mirror may lag behind sid's validity of one week. Signatures are still checked, but a signed list may be old.
    'Acquire::Check-Valid-Until "false";',
    // apt's download user, _apt, cannot write to the private directories.
    'APT::Sandbox::User "";',
    "",
  ].join("\n");
}

/**
 * Runs `work` with access to a suite of Debian's archive, one process at a time.
 *
 * @param sources whether source packages are wanted, too
 */
export function withApt(suite: string, sources: boolean, work: (apt: Apt) => void): void {
  mkdirSync(DEBIAN, { recursive: true });
  locked(join(DEBIAN, "lock"), () => work(new Apt(suite, join(DEBIAN, "apt", suite), sources)));
}

/** A suite of Debian's archive, accessed by apt with a private state: the machine's package state does not change. */
export class Apt {
  readonly #suite: string;
  readonly #state: string;
  #updated = false;

  /** @param sources whether to fetch the list of source packages, too */
  constructor(suite: string, state: string, sources: boolean) {
    this.#suite = suite;
    this.#state = state;
    if (!existsSync(KEYRING))
      throw new Error(`${KEYRING} is missing: install the package debian-archive-keyring`);
    const mirror = process.env.HULL_DEBIAN_MIRROR || machineMirror();
    if (!mirror)
      throw new Error("no Debian archive in this machine's apt sources: set HULL_DEBIAN_MIRROR to one");
    for (const directory of ["lists/partial", "archives/partial", "parts"])
      mkdirSync(join(state, directory), { recursive: true });
    const types = sources ? ["deb", "deb-src"] : ["deb"];
    const lines = types.map((type) => `${type} [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    writeFileSync(join(state, "status"), "");
    writeFileSync(join(state, "sources.list"), lines.join(""));
    writeFileSync(join(state, "apt.conf"), configuration(state));
  }

  /** Downloads a package to `directory`; a source package (`src:NAME`) as its archives. */
  download(wanted: string, directory: string): void {
    const source = wanted.startsWith("src:");
    const args = source ? ["source", "--download-only", wanted.slice(4)] : ["download", wanted];
    this.#fetch(source ? "Sources" : "Packages", wanted, args, directory);
  }

  /** Downloads packages and everything they depend on to `directory`, which has a directory `partial`. */
  downloadWithDependencies(packages: readonly string[], directory: string): void {
    const options = ["--yes", "--download-only", "--no-install-recommends"];
    const args = ["install", ...options, "-o", `Dir::Cache::archives=${directory}`, ...packages];
    this.#fetch("Packages", packages.join(" "), args, directory);
  }

  /** Runs apt-get, which needs lists of this kind; if it fails, again with new lists. */
  #fetch(list: "Sources" | "Packages", wanted: string, args: readonly string[], directory: string): void {
    const lists = readdirSync(join(this.#state, "lists"));
    if (!lists.some((name) => name.includes(list))) this.#update();
    const attempt = () =>
      this.#get(args, directory, `could not download ${wanted} from Debian ${this.#suite}`);
    try {
      attempt();
    } catch (error) {
      if (this.#updated) throw error;
      this.#update(); // the lists may be older than the archive
      attempt();
    }
  }

  #update(): void {
    console.error(`fetch: reading the package lists of Debian ${this.#suite}`);
    this.#get(
      ["--error-on=any", "update"],
      this.#state,
      `could not read the package lists of ${this.#suite}`,
    );
    this.#updated = true;
  }

  #get(args: readonly string[], cwd: string, failure: string): void {
    const env = { ...process.env, APT_CONFIG: join(this.#state, "apt.conf") };
    try {
      run("apt-get", ["-qq", ...args], { cwd, env, stdio: ["ignore", 2, 2] });
    } catch (cause) {
      throw new Error(`${failure} (apt-get's message is above)`, { cause });
    }
  }
}
