/** An error as the `sys` module throws it. */
export function sysError(code: string, subject: string): Error {
  return Object.assign(new Error(`${subject}: ${code}`), { code });
}
