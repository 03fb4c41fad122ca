import { assertVariableName, type Candidate } from './choose-database.js';

/** The streams of a terminal. */
export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
}

/** Stands for the answer of a person who wants another variable than those that were found. */
const OTHER = 'other';

/**
 * Asks a person where the database is, and returns the answer: a candidate, or the name of a variable with a URL. Returns
 * undefined if the person has cancelled the question.
 */
export async function askForDatabase(
  candidates: readonly Candidate[],
  { input, output }: Terminal,
): Promise<Candidate | string | undefined> {
  const { select, text, isCancel } = await import('@clack/prompts');
  const answer = await select<string>({
    message: 'Where is the database?',
    options: [
      ...candidates.map(({ label }, index) => ({ value: String(index), label })),
      { value: OTHER, label: 'another server, whose URL is in a variable' },
    ],
    input,
    output,
  });
  if (isCancel(answer)) return undefined;
  if (answer !== OTHER) return candidates[Number(answer)];
  const variable = await text({
    message: 'Which variable has the URL?',
    placeholder: 'DATABASE_URL',
    defaultValue: 'DATABASE_URL',
    validate: (value) => validateName(value ?? ''),
    input,
    output,
  });
  return isCancel(variable) ? undefined : variable;
}

/** Returns what is wrong with the name of a variable. An empty answer stands for the default. */
function validateName(value: string): string | undefined {
  if (value === '') return undefined;
  try {
    assertVariableName(value);
    return undefined;
  } catch {
    return 'write the name of a variable, such as DATABASE_URL';
  }
}
