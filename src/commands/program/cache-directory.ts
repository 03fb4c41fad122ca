let known: string | undefined;

/** Sets the directory where bin/run.js keeps the compiled code of the program. Undefined if it keeps none. */
export function setCacheDirectory(directory: string | undefined): void {
  known = directory;
}

/** Returns the directory where bin/run.js keeps the compiled code of the program. Undefined if it keeps none. */
export function getCacheDirectory(): string | undefined {
  return known;
}
