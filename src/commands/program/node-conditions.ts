/**
 * Lists the conditions of `exports` in a package.json that the user has given to Node.js: by `--conditions` or `-C` in
 * `args`, the options of the process, and in NODE_OPTIONS. https://nodejs.org/api/cli.html#-c-condition---conditionscondition
 */
export function listNodeConditions(args: readonly string[], nodeOptions: string | undefined): string[] {
  const words = [...args, ...(nodeOptions ?? '').split(/\s+/)];
  return words.flatMap((word, index) => {
    const joined = /^(?:--conditions|-C)=(.+)$/.exec(word)?.[1];
    const isNext = words[index - 1] === '--conditions' || words[index - 1] === '-C';
    return joined ?? (isNext ? word : []);
  });
}
