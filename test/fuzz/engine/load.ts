import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.ts";
import type { Session } from "./session.ts";

/** Bundles all targets with instrumentation and loads them. */
export async function loadSession(): Promise<Session> {
  const directory = await mkdtemp(join(tmpdir(), "hull-fuzz-"));
  try {
    const file = join(directory, "session.cjs");
    const places = await bundle(join(dirname(fileURLToPath(import.meta.url)), "session.ts"), file);
    const loaded = createRequire(import.meta.url)(file) as { sessionOf(places: number): Session };
    return loaded.sessionOf(places);
  } finally {
    await rm(directory, { recursive: true });
  }
}
