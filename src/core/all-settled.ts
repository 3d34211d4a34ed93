/**
 * Like Promise.all, but a failure is only told when nothing is under way any more: who then undoes what was made
 * does not miss something that is made a moment later. Rejects with the first failure in the list's order.
 */
export async function allSettled<T extends readonly unknown[]>(
  steps: {
    [K in keyof T]: Promise<T[K]>;
  },
): Promise<T> {
  const results = await Promise.allSettled(steps);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}
