/** A project of a user whose config must load. */
export interface ConfigProject {
  readonly title: string;
  /** The texts of the files by path. */
  readonly files: Readonly<Record<string, string>>;
  /** Symbolic links by path, with the path that each leads to, from the folder of the project. */
  readonly links?: Readonly<Record<string, string>>;
  /** The config, if it is not `etl.config.ts`. */
  readonly config?: string;
  /**
   * The program that tells what the config must see. `tsc` compiles the project to `out` and Node.js runs it. `tsx` has
   * arguments of its own, such as `--tsconfig`.
   */
  readonly second: 'node' | 'tsc' | 'tsx' | readonly ['tsx', ...string[]];
}

/** A config with the code `body`. It prints the values of `shows`. */
export function createModule(body: string, shows: string): string {
  return `import { dag, defineConfig } from '@oneshot/etl';
${body}
console.log('RESULT ' + JSON.stringify(${shows}));
export default defineConfig({ dags: [dag('hello', {}, (d) => { d.task('one', {}, async () => 1); })] });
`;
}

/** The same as CommonJS. */
export function createScript(body: string, shows: string): string {
  return `const { dag, defineConfig } = require('@oneshot/etl');
${body}
console.log('RESULT ' + JSON.stringify(${shows}));
module.exports = defineConfig({ dags: [dag('hello', {}, (d) => { d.task('one', {}, async () => 1); })] });
`;
}

/** The options of a tsconfig.json. */
export function createTsconfig(compilerOptions: object, more: object = {}): string {
  return JSON.stringify({ compilerOptions, ...more });
}

/** The manifest of a package of ES modules. */
export const MODULE = { 'package.json': '{ "type": "module" }' };
/** The manifest of a package of CommonJS. */
export const COMMONJS = { 'package.json': '{ "type": "commonjs" }' };
/** The files of a package of ES modules with a config in TypeScript: `createModule` and more files. */
export const TS = (
  body: string,
  shows: string,
  more: ConfigProject['files'] = {},
): ConfigProject['files'] => ({
  ...MODULE,
  'etl.config.ts': createModule(body, shows),
  ...more,
});
