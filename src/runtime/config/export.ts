import { EtlError, type ErrorParts } from '../../errors.js';
import { findExportPosition, START } from './position.js';
import type { ConfigFile } from '../modules/source-text.js';

/**
 * The default export of an executed config: of an ES module the export `default`, of a CommonJS one `module.exports`.
 * Throws `EtlError` ETL-2105 where there is none, or where it is not the config itself.
 */
export function getDefaultExport(configFile: ConfigFile, exports: unknown): unknown {
  const value = isModule(exports) ? exports['default'] : exports;
  if (value === undefined || (isEmpty(exports) && findExportPosition(configFile.text) === undefined)) {
    throw createMissingExportError(configFile, exports);
  }
  if (isThenable(value)) {
    throw createWrongExportError(configFile, {
      why: 'It is a promise',
      fix: 'Export the object itself: `export default defineConfig(await …)` works, top-level await is allowed.',
    });
  }
  if (typeof value === 'function') {
    throw createWrongExportError(configFile, {
      why: 'It is a function',
      fix: 'Export the object itself: call the function, `export default defineConfig(…)`.',
    });
  }
  return value;
}

function isModule(exports: unknown): exports is Readonly<Record<string, unknown>> {
  return isRecord(exports) && (Object.hasOwn(exports, '__esModule') || Object.hasOwn(exports, 'default'));
}

/** The exports of a file that exports nothing, which is not even marked as an ES module; or of `module.exports = {}`. */
function isEmpty(exports: unknown): boolean {
  return isRecord(exports) && Reflect.ownKeys(exports).length === 0;
}

function isThenable(value: unknown): boolean {
  return isRecord(value) && typeof value['then'] === 'function';
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function createMissingExportError(configFile: ConfigFile, exports: unknown): EtlError {
  const names = isRecord(exports)
    ? Object.keys(exports)
        .filter((name) => name !== 'default')
        .toSorted()
    : [];
  return new EtlError('ETL-2105', {
    what: `The config ${configFile.name} has no default export`,
    where: `${configFile.name}:1:1`,
    why:
      names.length === 0
        ? undefined
        : `It exports ${names.map((name) => `"${name}"`).join(', ')} by name only`,
    fix: 'Write `export default defineConfig({ … })`.',
  });
}

function createWrongExportError(configFile: ConfigFile, parts: Pick<ErrorParts, 'why' | 'fix'>): EtlError {
  const { line, column } = findExportPosition(configFile.text) ?? START;
  return new EtlError('ETL-2105', {
    what: `The default export of ${configFile.name} is not a config`,
    where: `${configFile.name}:${line}:${column}`,
    ...parts,
  });
}
