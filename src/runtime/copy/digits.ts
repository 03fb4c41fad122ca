const ZERO = 48;

/** What the digit there is worth. */
export function digitAt(bytes: Buffer, at: number): number {
  return (bytes[at] ?? 0) - ZERO;
}
