import { spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";

/** Keeps `path` open in another process until the returned function is called or the test ends. */
export async function holdOpen(t: TestContext, path: string): Promise<() => void> {
  const holder = spawn("sh", ["-c", "exec <$0; echo; exec sleep 1000", path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const release = () => void holder.kill("SIGKILL");
  t.after(release);
  await once(holder.stdout, "data");
  return release;
}
