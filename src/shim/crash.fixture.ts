/** A process with a bug, for crash.test.ts: an exception, or with `reject` a rejection, that nothing handles. */
import { tellCrash } from "./crash.ts";
import { createLog } from "./log/log.ts";

tellCrash(createLog("info", { namespace: "n", pod: "p1" }));
const bug = async () => {
  throw new Error("boom");
};
if (process.argv[2] === "reject") void bug();
else
  setImmediate(() => {
    throw new Error("boom");
  });
