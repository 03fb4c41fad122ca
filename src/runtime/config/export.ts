import { EtlError, type ErrorParts } from '../../errors.js';
import { findExportPosition, START } from './position.js';
import type { ConfigFile } from '../modules/source-text.js';

/**
 * Returns the default export of an executed config: the export `default` of an ES module, or `module.exports` of a
 * CommonJS module. Throws `EtlError` ETL-2105 if the config has no default export, or exports a promise or a function.
 */
export function getDefaultExport(configFile: ConfigFile, exports: unknown): unknown {
  const value = isModule(exports) ? exports['default'] : exports;
  if (value === undefined || (isEmpty(exports) && findExportPosition(configFile.text) === undefined)) {
    throw createMissingExportError(configFile, exports);
  }
  if (isThenable(value)) {
    throw createWrongExportError(configFile, {
      why: 'the default export is a promise',
      fix: 'export the object itself: top-level await is allowed, so `export default defineConfig(await …)` works',
    });
  }
  if (typeof value === 'function') {
    throw createWrongExportError(configFile, {
      why: 'the default export is a function',
      fix: 'call the function and export the object itself: `export default defineConfig(…)`',
    });
  }
  return value;
}

function isModule(exports: unknown): exports is Readonly<Record<string, unknown>> {
  return isRecord(exports) && (Object.hasOwn(exports, '__esModule') || Object.hasOwn(exports, 'default'));
}

/**
 * Says whether a file exports nothing and is not marked as an ES module. This is also true for `module.exports = {}`.
 */
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
    what: `the config ${configFile.name} has no default export`,
    where: `${configFile.name}:1:1`,
    why:
      names.length === 0
        ? undefined
        : `the config exports ${names.map((name) => `"${name}"`).join(', ')} by name only`,
    fix: 'write `export default defineConfig({ … })`',
  });
}

function createWrongExportError(configFile: ConfigFile, parts: Pick<ErrorParts, 'why' | 'fix'>): EtlError {
  const { line, column } = findExportPosition(configFile.text) ?? START;
  return new EtlError('ETL-2105', {
    what: `the default export of ${configFile.name} is not a config`,
    where: `${configFile.name}:${line}:${column}`,
    ...parts,
  });
}
