import type { EtlError } from '../../../errors.js';
import type { LoadSource } from './load-input.js';
import { LoadAttempt } from './loading.js';
import { chooseFormat, findFormat } from '../../format/file-format.js';
import { loadHyparquet } from '../../format/parquet.js';
import { learnFromUrl } from '../../secrets/learned-secrets.js';
import { LOAD } from './load-rules.js';
import { isRejectsFile } from './rejects.js';
import { collectFault, listOptions, type TransactionBody } from '../task-body.js';

/**
 * Creates the body of a load task, which copies its input into a table. The server parses CSV files. The header names
 * the column of each field, so the order of the fields does not matter. Views, grants and foreign keys of the table
 * stay as they are.
 */
export function createLoadBody(options: LoadSource): TransactionBody {
  for (const from of [options.from].flat()) if (isName(from)) learnFromUrl(String(from));
  return {
    transactional: true,
    ...(options.mode === 'merge' && { merges: options.into }),
    ...(options.rejects && isRejectsFile(options.rejects.to) && { rejectsFile: options.rejects.to }),
    listCode: () => listOptions(options, Object.keys(LOAD)),
    findFaults: async () => {
      const paths = [options.from].flat().filter((each) => typeof each === 'string');
      const faults: EtlError[] = [];
      for (const name of paths) {
        faults.push(
          ...(await collectFault(async () => {
            // The files of a glob have names of their own.
            const mayBeGlob = /[*?[{(!]/.test(name) && findFormat(name) === undefined;
            if (!mayBeGlob && chooseFormat({ name }, options) === 'parquet') await loadHyparquet();
          })),
        );
      }
      return faults;
    },
    run: (work) => new LoadAttempt(options, work).run(),
  };
}

/** Says whether an input is a path or a URL. */
function isName(from: unknown): from is string | URL {
  return typeof from === 'string' || from instanceof URL;
}
