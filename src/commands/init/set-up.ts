import { addModuleType, addToGitignore, createFile, type FileResult } from './project-files.js';
import { hasPackage, type ProjectFacts } from './project-facts.js';
import type { PackageCommands } from './package-commands.js';
import {
  DATA,
  DATA_FILE,
  type DatabaseChoice,
  writeConfig,
  writeExampleVariables,
  writeTsconfig,
} from './starter-config.js';

/** The paths that git must not keep: packages, the embedded database and the caches, and files with passwords. */
const IGNORED = ['node_modules/', '.etl/', '.env', '.env.local'];

/**
 * Writes the files that a project lacks. Overwrites no file. A directory that has a config already gets no other config
 * and no data. Throws ETL-2019 if a file can't be written: the files before it stay.
 */
export async function setUpProject(
  facts: ProjectFacts,
  choice: DatabaseChoice,
  timezone: string,
): Promise<readonly FileResult[]> {
  const { directory } = facts;
  const files: FileResult[] = [];
  const create = (path: string, text: string): unknown => files.push(createFile(directory, path, text));
  files.push(...setUpPackageFile(facts));
  const path = nameConfig(facts);
  if (facts.config === undefined) {
    create(path, writeConfig(choice, timezone));
    create(DATA_FILE, DATA);
  } else files.push({ path, action: 'kept' });
  create('tsconfig.json', writeTsconfig(path, facts.hasCode));
  create('.env.example', writeExampleVariables(choice));
  files.push(await addToGitignore(directory, IGNORED));
  return files;
}

/** Returns the path of the config. In a CommonJS project, only a file with `.mts` is an ES module. */
function nameConfig({ config, moduleType }: ProjectFacts): string {
  return config ?? (moduleType === 'module' ? 'etl.config.ts' : 'etl.config.mts');
}

function setUpPackageFile({ directory, packageFile, moduleType }: ProjectFacts): readonly FileResult[] {
  const path = 'package.json';
  const manifest = `${JSON.stringify({ private: true, type: moduleType }, null, 2)}\n`;
  if (packageFile === 'create') return [createFile(directory, path, manifest)];
  if (packageFile === 'add') return [addModuleType(directory)];
  const note = moduleType === 'module' ? {} : { note: 'CommonJS, so the config is an .mts file' };
  return [{ path, action: 'kept', ...note }];
}

/** A command that a person has to run, and what it is for. */
export interface NextCommand {
  readonly command: string;
  readonly purpose: string;
}

/**
 * Lists the commands that install what a project lacks: first what a run needs, then what the type checker and an editor
 * need.
 */
export function listInstallCommands(
  { directory }: ProjectFacts,
  choice: DatabaseChoice,
  commands: PackageCommands,
): { readonly forRuns: readonly NextCommand[]; readonly forTypes: readonly NextCommand[] } {
  const lacking = (names: readonly string[]): readonly string[] =>
    names.filter((name) => !hasPackage(directory, name));
  const list = (packages: readonly string[], isForDevelopment: boolean, purpose: string): NextCommand[] =>
    packages.length === 0 ? [] : [{ command: commands.add(packages, isForDevelopment), purpose }];
  return {
    forRuns: [
      ...list(lacking(['@oneshot/etl']), false, 'etl itself'),
      ...list(
        choice.kind === 'embedded' ? lacking(['@electric-sql/pglite']) : [],
        true,
        'the embedded database',
      ),
    ],
    forTypes: [
      ...list(lacking(['objection', 'knex', 'pg']), false, 'the models and their types'),
      ...list(lacking(['typescript', '@types/node']), true, 'the type checker'),
    ],
  };
}
