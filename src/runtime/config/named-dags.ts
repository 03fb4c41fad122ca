import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { types } from 'node:util';
import { isDag, type Dag } from '../dag/dag.js';
import { isRecord } from '../json.js';
import type { ConfigFile } from '../modules/source-text.js';
import { type CodeOptions, type Evaluated, importModules } from './code.js';
import { ShapeError } from './shape.js';

/**
 * Loads the Dags of a JSON or YAML config. `value` is the content of the file. `dags` in it lists modules, relative to the
 * config: `"dags": ["./dags.ts"]`. The Dags of a module are those that it exports, by any name, alone or in arrays. Returns
 * the content with these Dags. Throws `ShapeError` if `dags` is no list of modules, or if a module exports no Dag.
 */
export async function loadNamedDags(
  configFile: ConfigFile,
  value: unknown,
  options: CodeOptions,
): Promise<{ readonly value: unknown; readonly code?: Evaluated['code'] }> {
  if (!isRecord(value) || value['dags'] === undefined) return { value };
  const names = readNames(value['dags']);
  const specifiers = names.map((name) => toSpecifier(name, dirname(configFile.file)));
  const { value: modules, code } = await importModules(configFile, specifiers, options);
  const dags = new Set<Dag>();
  for (const [index, module] of modules.entries()) {
    const found = listDags(module);
    if (found.length === 0) {
      throw new ShapeError(['dags', String(index)], {
        what: `the module ${names[index]} exports no Dag`,
        fix: 'export the Dags: `export const nightly = dag(…)`',
      });
    }
    for (const dag of found) dags.add(dag);
  }
  return { value: { ...value, dags: [...dags] }, code };
}

function readNames(names: unknown): readonly string[] {
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  throw new ShapeError(['dags'], {
    what: 'expected `dags` to be a list of modules that export Dags',
    why: 'a Dag is made of functions, which a JSON or YAML file can not contain',
    fix: 'write the paths of the modules, such as `"dags": ["./dags.ts"]`',
  });
}

/** Returns the specifier of a module. A path may begin without a dot, as elsewhere in such files. */
function toSpecifier(name: string, directory: string): string {
  const isPath = !name.startsWith('.') && !isAbsolute(name) && existsSync(resolve(directory, name));
  return isPath ? `./${name}` : name;
}

/** Lists the Dags that a module exports, in the order of its exports. */
function listDags(module: unknown): readonly Dag[] {
  if (!isRecord(module) && !types.isModuleNamespaceObject(module)) return [];
  return Object.values(module as Record<string, unknown>)
    .flat()
    .filter(isDag);
}
