import { EtlError } from '../../errors.js';
import { findExportPosition, START } from './position.js';
import type { ConfigFile } from '../modules/source-text.js';

/**
 * Returns the default export of an executed config: the export `default` of an ES module, or `module.exports` of a
 * CommonJS module. Throws `EtlError` ETL-2105 if the config has no default export, or exports a promise or a function.
 */
export function getDefaultExport(configFile: ConfigFile, exports: unknown): unknown {
  const value = isModule(exports) ? exports['default'] : exports;
  // Nothing is exported, also by `module.exports = {}`, and the file is not marked as an ES module.
  const isEmpty = isObject(exports) && Reflect.ownKeys(exports).length === 0;
  if (value === undefined || (isEmpty && findExportPosition(configFile.text) === undefined))
    throw createMissingExportError(configFile, exports);
  const isPromise = isObject(value) && typeof value['then'] === 'function';
  if (!isPromise && typeof value !== 'function') return value;
  const { line, column } = findExportPosition(configFile.text) ?? START;
  throw new EtlError('ETL-2105', {
    what: `the default export of ${configFile.name} is not a config`,
    where: `${configFile.name}:${line}:${column}`,
    why: `the default export is a ${isPromise ? 'promise' : 'function'}`,
    fix: isPromise
      ? 'export the object itself: top-level await is allowed, so `export default defineConfig(await …)` works'
      : 'call the function and export the object itself: `export default defineConfig(…)`',
  });
}

/** Says whether exports are those of an ES module, also of one that was compiled to CommonJS. */
function isModule(exports: unknown): exports is Readonly<Record<string, unknown>> {
  return isObject(exports) && (Object.hasOwn(exports, '__esModule') || Object.hasOwn(exports, 'default'));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Creates the error ETL-2105 for a config without a default export. Names the other exports. */
function createMissingExportError(configFile: ConfigFile, exports: unknown): EtlError {
  const names = isObject(exports) ? Object.keys(exports).filter((name) => name !== 'default') : [];
  const list = names.toSorted().map((name) => `"${name}"`);
  return new EtlError('ETL-2105', {
    what: `the config ${configFile.name} has no default export`,
    where: `${configFile.name}:1:1`,
    why: list.length === 0 ? undefined : `the config exports ${list.join(', ')} by name only`,
    fix: 'write `export default defineConfig({ … })`',
  });
}
