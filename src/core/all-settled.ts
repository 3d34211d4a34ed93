/**
 * Like Promise.all, but rejects only once every promise has settled, so that the caller's undo misses nothing
 * that is created late. Rejects with the first failure in list order.
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
