import { cpSync } from "node:fs";
import { join } from "node:path";
import { buildOnce, keyOf } from "../../hack/lib/cache.ts";
import { ROOT, run } from "../../hack/lib/run.ts";

/** Returns a directory in the cache with a built copy of a revision. */
export function builtRevision(revision: string): string {
  const id = run("git", ["-C", ROOT, "rev-parse", "--verify", `${revision}^{commit}`]).trim();
  return join(
    buildOnce("bench-revision", keyOf(id), (_, result) => {
      const tree = join(result, "tree");
      run("git", ["clone", "--quiet", "--no-checkout", ROOT, tree]);
      run("git", ["-C", tree, "checkout", "--quiet", "--detach", id]);
      cpSync(join(ROOT, "node_modules"), join(tree, "node_modules"), {
        recursive: true,
        verbatimSymlinks: true,
      });
      run(join(tree, "hack/setup"), [], { cwd: tree, stdio: ["ignore", "ignore", "inherit"] });
    }),
    "tree",
  );
}
