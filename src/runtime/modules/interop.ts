import { types } from 'node:util';

/**
 * Converts a module for compiled code, which is CommonJS. The default export of an ES module is in the property
 * `default`. A name that the module does not export is read from its default export: `import { named } from
 * 'cjs-package'` works. Returns a module that is not an ES module unchanged.
 */
export function interopDefault(loaded: unknown): unknown {
  if (!types.isModuleNamespaceObject(loaded)) return loaded;
  const names = loaded as Readonly<Record<string | symbol, unknown>>;
  const value = names['default'];
  // The module was compiled from an ES module to CommonJS. Node's `import` gives its whole `exports` as the default
  // export.
  if ('__esModule' in names && isObject(value)) return value;
  return new Proxy(names, {
    get: (_names, name) => {
      if (name === '__esModule') return true;
      // Without a default export, the module itself is the default.
      if (name === 'default') return value ?? names;
      if (name in names || !isObject(value)) return names[name];
      return Reflect.get(value, name) as unknown;
    },
  });
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
