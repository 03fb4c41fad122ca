import { types } from 'node:util';

/**
 * A module as the code of a transformed file takes it, which is CommonJS: an ES module, or one that was one, has its
 * default export in `default`. One that only has a default export lends its properties as names.
 */
export function interopDefault(loaded: unknown): unknown {
  if (!types.isModuleNamespaceObject(loaded)) return loaded;
  const names = loaded as Readonly<Record<string | symbol, unknown>>;
  const value = names['default'];
  return new Proxy(names, {
    get: (_names, name) => {
      if (name === '__esModule') return true;
      if (name === 'default') return value ?? names;
      if (name in names || !isObject(value)) return names[name];
      return Reflect.get(value, name) as unknown;
    },
  });
}

/** The same as what a dynamic `import()` resolves to: its default export is in `default`. */
export function getNamespace(loaded: unknown): unknown {
  const module = interopDefault(loaded);
  if (isObject(module) && Reflect.get(module, '__esModule') === true) return module;
  return { ...(isObject(module) ? module : undefined), default: module };
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
