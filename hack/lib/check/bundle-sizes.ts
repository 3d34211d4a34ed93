/** Checks that the bundles in dist/lib are within their budgets. Needs `npm run build`. */
import { tooLarge } from "../build/bundle.ts";

const problems = tooLarge();
for (const problem of problems) console.log(problem);
if (problems.length > 0) process.exitCode = 1;
