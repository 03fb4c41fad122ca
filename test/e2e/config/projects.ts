import { COMMONJS, createModule, createScript, MODULE, type ConfigProject } from './project.js';
import { MODULES, PATHS, WORKSPACES } from './module-projects.js';
import { CLASSES, JSX, SYNTAX } from './syntax-projects.js';

/** One file of each kind, in packages of each type. */
const KINDS: readonly ConfigProject[] = [
  ...['ts', 'mts', 'js', 'mjs'].flatMap((extension) =>
    [MODULE, COMMONJS, { 'package.json': '{}' }].flatMap((manifest): ConfigProject[] => {
      const type = /"type": "(\w+)"/.exec(manifest['package.json'])?.[1] ?? 'none';
      const isScript = extension === 'js' && type !== 'module';
      return [
        {
          title: `etl.config.${extension} in a package of type ${type}`,
          config: `etl.config.${extension}`,
          files: {
            ...manifest,
            [`etl.config.${extension}`]: (isScript ? createScript : createModule)(
              '',
              "typeof dag === 'function'",
            ),
          },
          second: extension.endsWith('ts') ? 'tsx' : 'node',
        },
      ];
    }),
  ),
  {
    title: 'etl.config.cjs',
    config: 'etl.config.cjs',
    files: {
      ...MODULE,
      'etl.config.cjs': createScript("const { a } = require('./a.cjs');", 'a'),
      'a.cjs': 'exports.a = 1;',
    },
    second: 'node',
  },
  {
    title: 'a config with the name tasks.cts, that is given by --config',
    config: 'tasks.cts',
    files: { ...MODULE, 'tasks.cts': createScript('const a: number = 1;', 'a') },
    second: 'tsx',
  },
  {
    title: 'a config with the name tasks.tsx, that is given by --config',
    config: 'tasks.tsx',
    files: { ...MODULE, 'tasks.tsx': createModule('const a = <T,>(value: T): T => value;', 'a(1)') },
    second: 'tsx',
  },
];

/** The projects of users whose configs must load. */
export const CONFIG_PROJECTS: readonly ConfigProject[] = [
  ...KINDS,
  ...SYNTAX,
  ...CLASSES,
  ...JSX,
  ...PATHS,
  ...MODULES,
  ...WORKSPACES,
];
