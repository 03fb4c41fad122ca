import { EtlError } from '../../errors.js';

/**
 * Creates ETL-2018 for an error that an option of Node.js causes: `--permission` and
 * `--disallow-code-generation-from-strings` forbid what the program needs. Returns undefined for every other error.
 * `options` is the value of NODE_OPTIONS.
 */
export function describeRestriction(error: unknown, options: string | undefined): EtlError | undefined {
  const why = explain(error);
  if (why === undefined || !(error instanceof Error)) return undefined;
  return new EtlError('ETL-2018', {
    what: `an option of Node.js forbids what etl needs: ${error.message}`,
    where: options ? `NODE_OPTIONS=${options}` : 'the command line of Node.js',
    why,
    fix: 'start etl without this option: NODE_OPTIONS= etl …',
    data: 'nothing was started',
    cause: error,
  });
}

function explain(error: unknown): string | undefined {
  const { code, permission, resource } = Object(error) as {
    code?: unknown;
    permission?: unknown;
    resource?: unknown;
  };
  if (code === 'ERR_ACCESS_DENIED')
    return `--permission forbids ${[permission, resource].filter((each) => typeof each === 'string' && each !== '').join(' ')}`;
  return error instanceof EvalError
    ? '--disallow-code-generation-from-strings forbids `new Function`, with which etl builds the code that reads and writes rows'
    : undefined;
}
