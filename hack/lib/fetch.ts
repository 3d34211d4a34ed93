/** The command line of hack/fetch. */
import { debianPackages } from "./debian/packages.ts";
import { rustVirtiofsd } from "./debian/rust-virtiofsd.ts";
import { testImages } from "./images/test-images.ts";

/** Items that are built. Each function returns a path. */
const BUILT: Readonly<Record<string, () => string>> = {
  "test-images": testImages,
  "rust-virtiofsd": rustVirtiofsd,
};

function fetched(wanted: string): string {
  const build = BUILT[wanted];
  if (build) return build();
  const [name = "", suite, ...more] = wanted.split("/");
  if (suite === undefined || more.length > 0)
    throw new Error(`"${wanted}" is neither PACKAGE/SUITE nor one of ${Object.keys(BUILT).join(", ")}`);
  return debianPackages(suite, [name]).join("\n");
}

try {
  for (const wanted of process.argv.slice(2)) console.log(fetched(wanted));
} catch (error) {
  console.error(`fetch: ${(error as Error).message}`);
  process.exitCode = 1;
}
