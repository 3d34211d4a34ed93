/** Fails as the first argument says; the runner checks exit status and output. */
// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";

const way = sys.argv()[1];
if (way === "callback") {
  setTimeout(() => {
    throw new Error("thrown in a callback");
  }, 1);
} else if (way === "rejection") {
  void Promise.reject(new Error("rejected unseen"));
} else if (way === "late") {
  // Handled before the promise jobs are done: not an error.
  const promise = Promise.reject(new Error("rejected, but seen"));
  queueMicrotask(() => promise.catch(() => console.log("seen")));
} else if (way === "module") {
  throw new Error("thrown by the module");
} else if (way === "never") {
  await new Promise(() => undefined);
} else if (way === "handler") {
  sys.onUncaught((error) => console.log(`handled ${(error as Error).message}`));
  setTimeout(() => {
    throw new Error("one");
  }, 1);
  setTimeout(() => void Promise.reject(new Error("two")), 2);
  setTimeout(() => console.log("still alive"), 5);
}
