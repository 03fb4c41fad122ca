import { COMMONJS, createModule, createTsconfig, MODULE, TS, type ConfigProject } from './project.js';

const MODEL = `import { Model } from 'objection';
export class User extends Model { static override tableName = 'user'; declare id: number; }
`;
const WORKSPACE = {
  'packages/lib/package.json': '{ "name": "@org/lib", "type": "module", "exports": "./index.ts" }',
  'packages/lib/index.ts': `import { kinds } from './kinds';
export enum Color { Red = 'red' }
export const lib: { name: string } = { name: 'lib ' + kinds.length };
`,
  'packages/lib/kinds.ts': 'export const kinds: string[] = [];\n',
};
/** Projects with aliases of a tsconfig.json. */
export const PATHS: readonly ConfigProject[] = [
  {
    title: 'paths with a pattern, relative to the tsconfig.json',
    files: TS("import { a } from '@models/rel';", 'a', {
      'src/models/rel.ts': "import { b } from '@models/other.js'; export const a: number = b;",
      'src/models/other.ts': 'export const b: number = 1;',
      'tsconfig.json': createTsconfig({ paths: { '@models/*': ['./src/models/*'] } }),
    }),
    second: 'tsx',
  },
  {
    title: 'paths with baseUrl, an exact name, several places, and the longest prefix',
    files: TS(
      "import { a } from '~'; import { b } from '@/b'; import { c } from '@/deep/c'; import { d } from 'lib/d';",
      '[a, b, c, d]',
      {
        'src/index.ts': "export const a = 'a';",
        'src/gen/b.ts': "export const b = 'gen b';",
        'src/b.ts': "export const b = 'second b';",
        'src/special/c.ts': "export const c = 'special c';",
        'src/deep/c.ts': "export const c = 'deep c';",
        'src/lib/d.ts': "export const d = 'by baseUrl';",
        'tsconfig.json': createTsconfig({
          baseUrl: './src',
          paths: { '~': ['./index.ts'], '@/*': ['./none/*', './gen/*', './*'], '@/deep/*': ['./special/*'] },
        }),
      },
    ),
    second: 'tsx',
  },
  {
    title: 'paths by import(), require and import.meta.resolve',
    files: TS(
      "const { a } = await import('@/a'); const name = '@/a'; const lazy = await import(name);",
      "[a, lazy.a, import.meta.resolve('@/a').endsWith('/src/a.ts')]",
      {
        'src/a.ts': 'export const a = 1;',
        'tsconfig.json': createTsconfig({ paths: { '@/*': ['./src/*'] } }),
      },
    ),
    second: 'tsx',
  },
  {
    title: 'paths that also match packages and modules of Node.js',
    files: TS(
      "import { sep } from 'node:path'; import { inspect } from 'util'; import p from 'p';",
      '[sep, typeof inspect, p]',
      {
        'node_modules/p/package.json': '{ "name": "p", "type": "module", "exports": "./p.js" }',
        'node_modules/p/p.js': "export default 'p';",
        'types/p.d.ts': 'declare const p: string; export default p;',
        'tsconfig.json': createTsconfig({ paths: { '*': ['./types/*', './vendor/*'] } }),
      },
    ),
    second: 'tsx',
  },
  {
    title: 'extends with a chain, an array, a package and ${configDir}',
    files: TS("import { a } from '@one/a'; import { b } from '@two/b';", '[a, b]', {
      'one/a.ts': 'export const a = 1;',
      'two/b.ts': 'export const b = 2;',
      'configs/base.json':
        '// a comment\n{ "compilerOptions": { "paths": { "@one/*": ["${configDir}/one/*"], "@two/*": ["../two/*"], }, }, }',
      'configs/middle.json': '{ "extends": "./base" }',
      'node_modules/@tsconfig/strict/package.json': '{ "name": "@tsconfig/strict" }',
      'node_modules/@tsconfig/strict/tsconfig.json': '{ "compilerOptions": { "strict": true } }',
      'tsconfig.json':
        '{ "extends": ["@tsconfig/strict/tsconfig.json", "./configs/middle.json"] /* both */ }',
    }),
    second: 'tsx',
  },
  {
    title: 'the tsconfig.json of a folder above',
    files: {
      'package.json': '{ "private": true }',
      'tsconfig.json': createTsconfig({ paths: { '@/*': ['./shared/*'] } }),
      'shared/a.ts': 'export const a = 1;',
      'jobs/package.json': '{ "type": "module" }',
      'jobs/etl.config.ts': createModule("import { a } from '@/a';", 'a'),
    },
    config: 'jobs/etl.config.ts',
    second: ['tsx', '--tsconfig', 'tsconfig.json'],
  },
  {
    title: 'references, the one whose include names the config',
    files: TS("import { a } from '@/a';", 'a', {
      'src/a.ts': "export const a = 'node';",
      'web/a.ts': "export const a = 'web';",
      'tsconfig.json':
        '{ "files": [], "references": [{ "path": "./tsconfig.web.json" }, { "path": "./tools" }] }',
      'tsconfig.web.json': createTsconfig({ paths: { '@/*': ['./web/*'] } }, { include: ['web'] }),
      'tools/tsconfig.json': createTsconfig(
        { paths: { '@/*': ['../src/*'] } },
        { include: ['../etl.config.ts', '../src'] },
      ),
    }),
    second: ['tsx', '--tsconfig', 'tools/tsconfig.json'],
  },
  {
    title: 'a jsconfig.json and a config in JavaScript',
    config: 'etl.config.mjs',
    files: {
      ...MODULE,
      'etl.config.mjs': createModule("import { a } from '@/a.js'; import { b } from './b.js';", '[a, b]'),
      'b.js': "export { a as b } from '@/a.js';",
      'src/a.js': 'export const a = 1;',
      'jsconfig.json': createTsconfig({ paths: { '@/*': ['./src/*'] } }),
    },
    second: ['tsx', '--tsconfig', 'jsconfig.json'],
  },
];

/** Projects with modules of all kinds. */
export const MODULES: readonly ConfigProject[] = [
  {
    title: './y.js for y.ts, no extension, a directory, and TypeScript beside old JavaScript',
    files: TS(
      "import { a } from './a.js'; import { b } from './b'; import { c } from './c'; import { d } from './d.mjs'; import { e } from './e.js'; import { f } from './e';",
      '[a, b, c, d, e, f]',
      {
        'a.ts': 'export const a: number = 1;',
        'b.ts': 'export const b: number = 2;',
        'c/index.ts': 'export const c: number = 3;',
        'd.mts': 'export const d: number = 4;',
        'e.ts': "export const e: string = 'new'; export const f: string = 'new';",
        'e.js': "export const e = 'old'; export const f = 'old';",
      },
    ),
    second: 'tsx',
  },
  {
    title: 'the field imports of package.json, with conditions',
    files: {
      'package.json':
        '{ "type": "module", "imports": { "#models/*": "./src/models/*.ts", "#env": { "require": "./r.cjs", "import": "./i.ts" }, "#dep": "p" } }',
      'etl.config.ts': createModule(
        "import { a } from '#models/a'; import { env } from '#env'; import p from '#dep';",
        '[a, env, p]',
      ),
      'src/models/a.ts': 'export const a: number = 1;',
      'i.ts': "export const env: string = 'import';",
      'r.cjs': "exports.env = 'require';",
      'node_modules/p/package.json': '{ "name": "p", "main": "p.js" }',
      'node_modules/p/p.js': "module.exports = 'p';",
    },
    second: 'tsx',
  },
  {
    title: 'JSON with and without an attribute',
    files: TS(
      "import a from './a.json' with { type: 'json' }; import b from './b.json'; const c = await import('./a.json', { with: { type: 'json' } });",
      '[a.n, b.n, c.default.n]',
      {
        'a.json': '{ "n": 1 }',
        'b.json': '{ "n": 2 }',
        'tsconfig.json': createTsconfig({ resolveJsonModule: true }),
      },
    ),
    second: 'tsx',
  },
  {
    title: 'models that import each other, with Objection',
    files: TS(
      "import { User } from './user.js'; import { Post } from './post.js';",
      '[User.tableName, Post.tableName, Object.keys(Post.relationMappings()), User.relationMappings().posts.modelClass === Post]',
      {
        'user.ts':
          "import { Model } from 'objection'; import { Post } from './post.js';\nexport class User extends Model { static override tableName = 'user'; static override relationMappings = () => ({ posts: { relation: Model.HasManyRelation, modelClass: Post, join: { from: 'user.id', to: 'post.user' } } }); }\n",
        'post.ts':
          "import { Model } from 'objection'; import { User } from './user.js';\nexport class Post extends Model { static override tableName = 'post'; static override relationMappings = () => ({ user: { relation: Model.BelongsToOneRelation, modelClass: User, join: { from: 'post.user', to: 'user.id' } } }); }\n",
      },
    ),
    second: 'tsx',
  },
  {
    title: 'CommonJS models in JavaScript, with a base class that is also imported',
    files: TS(
      "import { Base } from './base.cjs'; import { User } from './user.cjs';",
      '[User.tableName, Object.getPrototypeOf(User) === Base]',
      {
        'base.cjs': "const { Model } = require('objection'); exports.Base = class Base extends Model {};",
        'user.cjs':
          "const { Base } = require('./base.cjs'); exports.User = class User extends Base { static get tableName() { return 'user'; } };",
      },
    ),
    second: 'tsx',
  },
  {
    title: 'CommonJS models in TypeScript: require, import = and export =',
    files: {
      ...COMMONJS,
      'etl.config.ts': createModule(
        "import User from './user'; import { Base } from './base'; import old = require('./old');",
        '[new User().name, Object.getPrototypeOf(User) === Base, old.n, old.isSame]',
      ),
      'base.ts': 'export class Base { name: string = "base"; }',
      'user.ts': "import base = require('./base');\nclass User extends base.Base {}\nexport = User;\n",
      'old.ts':
        "const { Base } = require('./base');\nmodule.exports = { n: 1, isSame: Base === require('./base.js').Base };\nexport {};\n",
    },
    second: 'tsx',
  },
  {
    title: 'CommonJS JavaScript that requires TypeScript, which is also imported',
    files: {
      ...COMMONJS,
      'etl.config.ts': createModule(
        "import { Base } from './base'; import user from './user.cjs';",
        '[user.base === Base, user.path]',
      ),
      'base.ts': 'export class Base { name: string = "base"; }',
      'user.cjs':
        "exports.base = require('./base.ts').Base; exports.path = require('node:path').basename(require.resolve('./base.ts'));",
    },
    second: 'tsx',
  },
  {
    title: 'what tsc made: a CommonJS dist with models',
    config: 'dist/etl.config.js',
    files: {
      ...COMMONJS,
      'dist/etl.config.js': `"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
const etl_1 = require("@oneshot/etl");
const user_1 = require("./user");
console.log('RESULT ' + JSON.stringify([user_1.User.tableName, user_1.default]));
exports.default = (0, etl_1.defineConfig)({ dags: [(0, etl_1.dag)('hello', {}, (d) => { d.task('one', {}, async () => 1); })] });
`,
      'dist/user.js': `"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.User = void 0;
const objection_1 = require("objection");
class User extends objection_1.Model { }
exports.User = User;
User.tableName = 'user';
exports.default = 1;
`,
    },
    second: 'node',
  },
  {
    title: 'what tsc made: an ESM dist with models',
    config: 'dist/etl.config.js',
    files: {
      ...MODULE,
      'dist/etl.config.js': createModule("import { User } from './user.js';", 'User.tableName'),
      'dist/user.js':
        "import { Model } from 'objection';\nexport class User extends Model {\n    static tableName = 'user';\n}\n",
    },
    second: 'node',
  },
  {
    title: 'a CommonJS dist that TypeScript imports',
    files: TS(
      "import { User } from './dist/user.js'; const all = await import('./dist/user.js');",
      '[User, all.User]',
      {
        'dist/package.json': '{ "type": "commonjs" }',
        'dist/user.js':
          "Object.defineProperty(exports, '__esModule', { value: true }); exports.User = 'user'; exports.default = 'default';",
      },
    ),
    second: 'tsx',
  },
  {
    title: 'installed packages: ESM, CommonJS, both, and TypeScript',
    files: TS(
      "import esm from 'esm'; import cjs, { named } from 'cjs'; import both from 'both/sub'; import { ts } from 'source';",
      '[esm, cjs.named, named, both, ts]',
      {
        'node_modules/esm/package.json':
          '{ "name": "esm", "type": "module", "exports": { "import": "./index.js" } }',
        'node_modules/esm/index.js': "export default 'esm';",
        'node_modules/cjs/package.json': '{ "name": "cjs", "main": "main.js" }',
        'node_modules/cjs/main.js': "exports.named = 'cjs';",
        'node_modules/both/package.json':
          '{ "name": "both", "exports": { "./sub": { "import": "./sub.mjs", "require": "./sub.cjs" } } }',
        'node_modules/both/sub.mjs': "export default 'import';",
        'node_modules/both/sub.cjs': "module.exports = 'require';",
        'node_modules/source/package.json': '{ "name": "source", "type": "module", "exports": "./index.ts" }',
        'node_modules/source/index.ts': "export const ts: string = 'source';",
      },
    ),
    second: 'tsx',
  },
  {
    title: 'an import() by the environment, export *, and live bindings',
    files: TS(
      "const { models } = await import(`./${process.env.NONE ?? 'dev'}.js`); import * as all from './all.js'; import { count, add } from './count.js'; add();",
      '[models, Object.keys(all), count]',
      {
        'dev.ts': "export const models: string[] = ['dev'];",
        'all.ts': "export * from './dev.js'; export * as dev from './dev.js';",
        'count.ts': 'export let count: number = 0; export const add = (): void => { count += 1; };',
      },
    ),
    second: 'tsx',
  },
  {
    title: 'an .mjs file that imports TypeScript with an enum',
    files: TS("import { a } from './a.mjs';", 'a', {
      'a.mjs': "import { b } from './b.mjs'; export const a = b;",
      'b.mjs': "import { C } from './c.ts'; export const b = C.D;",
      'c.ts': "export enum C { D = 'd' }",
    }),
    second: 'tsx',
  },
];

/** Projects with packages in linked folders. */
export const WORKSPACES: readonly ConfigProject[] = [
  {
    title: 'a workspace package that exports TypeScript, with an enum and an import without extension',
    files: TS("import { lib, Color } from '@org/lib';", '[lib, Color.Red]', WORKSPACE),
    links: { 'node_modules/@org/lib': 'packages/lib' },
    second: 'tsx',
  },
  {
    title: 'a workspace package with conditions, subpaths, patterns and its own tsconfig.json',
    files: TS(
      "import { a } from '@org/lib'; import { b } from '@org/lib/sub'; import { User } from '@org/lib/models/user';",
      '[a, b, User.tableName]',
      {
        'packages/lib/package.json': `{ "name": "@org/lib", "type": "module", "exports": {
        ".": { "types": "./dist/index.d.ts", "import": "./src/index.ts", "require": "./dist/index.cjs" }, "./sub": "./src/sub.ts", "./models/*": "./src/models/*.ts" } }`,
        'packages/lib/tsconfig.json': createTsconfig({ paths: { '~/*': ['./src/*'] } }),
        'packages/lib/src/index.ts': "export { a } from '~/a.js';",
        'packages/lib/src/a.ts':
          "import { self } from '@org/lib/models/self'; export const a: string = 'a ' + self;",
        'packages/lib/src/models/self.ts': "export const self: string = 'self';",
        'packages/lib/src/models/user.ts': MODEL,
        'packages/lib/src/sub.ts': 'export const b: number = 2;',
        'tsconfig.json': '{}',
      },
    ),
    links: { 'node_modules/@org/lib': 'packages/lib' },
    // tsx takes one tsconfig.json for all files, so it gets one with the aliases of all.
    second: ['tsx', '--tsconfig', 'packages/lib/tsconfig.json'],
  },
  {
    title: 'a workspace package without exports, whose main is TypeScript',
    files: TS("import { lib } from '@org/lib'; import { kinds } from '@org/lib/kinds';", '[lib, kinds]', {
      ...WORKSPACE,
      'packages/lib/package.json': '{ "name": "@org/lib", "type": "module", "main": "./index.ts" }',
    }),
    links: { 'node_modules/@org/lib': 'packages/lib' },
    second: 'tsx',
  },
  {
    title: 'a workspace package in JavaScript, of which another imports TypeScript',
    files: TS("import { a } from '@org/js';", 'a', {
      ...WORKSPACE,
      'packages/js/package.json': '{ "name": "@org/js", "type": "module", "exports": "./index.js" }',
      'packages/js/index.js': "import { lib } from '@org/lib'; export const a = lib.name;",
    }),
    links: { 'node_modules/@org/lib': 'packages/lib', 'node_modules/@org/js': 'packages/js' },
    second: 'tsx',
  },
  {
    title: 'a project that pnpm has laid out, with links to links',
    files: TS("import { lib } from '@org/lib'; import p from 'p';", '[lib, p]', {
      ...WORKSPACE,
      'packages/lib/kinds.ts': "import p from 'p'; export const kinds: string[] = [p];\n",
      'node_modules/.pnpm/p@1.0.0/node_modules/p/package.json':
        '{ "name": "p", "version": "1.0.0", "type": "module", "exports": "./p.js" }',
      'node_modules/.pnpm/p@1.0.0/node_modules/p/p.js': "export default 'p';",
    }),
    links: {
      'node_modules/@org/lib': 'packages/lib',
      'node_modules/p': 'node_modules/.pnpm/p@1.0.0/node_modules/p',
      'packages/lib/node_modules/p': 'node_modules/.pnpm/p@1.0.0/node_modules/p',
    },
    second: 'tsx',
  },
];
