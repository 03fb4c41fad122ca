import { types } from 'node:util';

/**
 * A module as compiled code takes it, which is CommonJS: an ES module, or one that was one, has its default export in
 * `default`. One that only has a default export lends its properties as names.
 */
export function interopDefault(loaded: unknown): unknown {
  if (!types.isModuleNamespaceObject(loaded)) return loaded;
  const names = loaded as Readonly<Record<string | symbol, unknown>>;
  const value = names['default'];
  // CommonJS that was an ES module: to Node's `import`, its default export is the whole of it.
  if ('__esModule' in names && isObject(value)) return value;
  return new Proxy(names, {
    get: (_names, name) => {
      if (name === '__esModule') return true;
      if (name === 'default') return value ?? names;
      if (name in names || !isObject(value)) return names[name];
      return Reflect.get(value, name) as unknown;
    },
  });
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
