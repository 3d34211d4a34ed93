import { VERSION } from "../../../src/core/version.ts";
import { configPage } from "./config.ts";
import { hullPage } from "./hull.ts";
import { type PageName, roff } from "./roff.ts";
import { shimPage } from "./shim.ts";

const PAGES: readonly (PageName & { readonly text: () => string })[] = [
  { name: "hull", section: 1, text: hullPage },
  { name: "hull-config", section: 5, text: configPage },
  { name: "containerd-shim-hull-v2", section: 8, text: shimPage },
];

/** Returns the source of every manual page by its path below share/man. */
export const manPages = (): ReadonlyMap<string, string> =>
  new Map(
    PAGES.map((page) => [
      `man${page.section}/${page.name}.${page.section}`,
      roff(page, VERSION, page.text()),
    ]),
  );
