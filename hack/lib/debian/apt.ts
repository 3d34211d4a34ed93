import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../run.ts";
import { machineMirror } from "./mirror.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** apt's configuration: everything in the directory `state`, proxies and certificates as the machine has them, no hooks. */
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
    // A mirror may lag behind sid's one-week term. Signatures are still checked; what is given up is only the proof
    // that the signed list is a recent one.
    'Acquire::Check-Valid-Until "false";',
    // The private directories belong to the caller, the download user _apt could not write there.
    'APT::Sandbox::User "";',
    "",
  ].join("\n");
}

/** A suite of Debian's archive, seen through a private apt: the machine's own package state is not touched. */
export class Apt {
  readonly #suite: string;
  readonly #state: string;
  #updated = false;

  /** @param sources whether source packages are wanted, too: their list is as long again */
  constructor(suite: string, state: string, sources: boolean) {
    this.#suite = suite;
    this.#state = state;
    if (!existsSync(KEYRING))
      throw new Error(`${KEYRING} is missing: install the package debian-archive-keyring`);
    const mirror = process.env.HULL_DEBIAN_MIRROR || machineMirror();
    if (!mirror)
      throw new Error("no Debian archive in this machine's apt sources: set HULL_DEBIAN_MIRROR to one");
    for (const folder of ["lists/partial", "archives/partial", "parts"])
      mkdirSync(join(state, folder), { recursive: true });
    const types = sources ? ["deb", "deb-src"] : ["deb"];
    const lines = types.map((type) => `${type} [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    writeFileSync(join(state, "status"), "");
    writeFileSync(join(state, "sources.list"), lines.join(""));
    writeFileSync(join(state, "apt.conf"), configuration(state));
  }

  /** Downloads one package into `folder`; a source package (`src:NAME`) as the archives it consists of. */
  download(wanted: string, folder: string): void {
    const source = wanted.startsWith("src:");
    const lists = readdirSync(join(this.#state, "lists"));
    if (!lists.some((name) => name.includes(source ? "Sources" : "Packages"))) this.#update();
    const args = source ? ["source", "--download-only", wanted.slice(4)] : ["download", wanted];
    const attempt = () => this.#get(args, folder, `could not download ${wanted} from Debian ${this.#suite}`);
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
