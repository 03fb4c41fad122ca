import { expect } from 'chai';
import { project, type Files } from './config-project.js';

interface Row {
  readonly title: string;
  readonly files: Files;
  readonly where: string | RegExp;
  readonly says: string;
  /** The advice in the message. */
  readonly fix?: string;
}

const TS = 'etl.config.ts';
const config = (text: string): Files => ({ [TS]: text });

const ROWS: readonly Row[] = [
  {
    title: 'an import of a file that does not exist',
    files: config(
      "import { dag } from '@oneshot/etl';\nimport { a } from './missing.js';\nexport default { dags: [a, dag] };\n",
    ),
    where: `${TS}:2:19`,
    says: `can't find the file "./missing.js", which etl.config.ts imports`,
  },
  {
    title: 'an import of a package that is not installed',
    files: {
      ...config("import './a.js';\nexport default {};\n"),
      'a.ts': "// 'left-padding'\nimport 'left-padding';\n",
    },
    where: 'a.ts:2:8',
    says: `can't find the package "left-padding", which a.ts imports`,
  },
  {
    title: 'an import in an imported .mjs file that cannot be resolved',
    files: { ...config("import './a.mjs';\nexport default {};\n"), 'a.mjs': "import './gone.mjs';\n" },
    where: 'a.mjs:1:8',
    says: `can't find the file "./gone.mjs"`,
  },
  {
    title: 'a require of a file that does not exist',
    files: { 'etl.config.cjs': "const a = require('./gone.cjs');\nmodule.exports = a;\n" },
    where: 'etl.config.cjs:1:19',
    says: `can't find the file "./gone.cjs"`,
  },
  {
    title: 'an alias of paths that leads to no file',
    files: {
      ...config("import './a.js';\nexport default {};\n"),
      'a.ts': "import { rel } from '@models/rel';\nexport { rel };\n",
      'tsconfig.json': '{ "compilerOptions": { "paths": { "@models/*": ["./src/models/*"] } } }',
    },
    where: 'a.ts:1:21',
    says: '`paths` of tsconfig.json maps "@models/rel" to src/models/rel, and there is no such file',
    fix: 'correct the import, or `paths`',
  },
  {
    title: 'an alias that the tsconfig.json does not have',
    files: config("import '@/models/rel';\nexport default {};\n"),
    where: `${TS}:1:8`,
    says: `can't find the module "@/models/rel"`,
    fix: 'correct the name, or add the alias to `paths` in tsconfig.json',
  },
  {
    title: 'a path in a package that is not installed, which may be an alias',
    files: config("import '@models/rel/user.js';\nexport default {};\n"),
    where: `${TS}:1:8`,
    says: `can't find "@models/rel/user.js"`,
    fix: 'correct the name, add the alias to `paths` in tsconfig.json, or install the package: `npm install @models/rel`',
  },
  {
    title: 'a name that imports of package.json does not have',
    files: config("import '#db';\nexport default {};\n"),
    where: `${TS}:1:8`,
    says: `can't find the module "#db"`,
    fix: 'correct the name, or add it to `imports` in package.json',
  },
  {
    title: 'a path that a package does not export',
    files: {
      ...config("import 'p/inner.js';\nexport default {};\n"),
      'node_modules/p/package.json': '{ "name": "p", "type": "module", "exports": "./p.js" }',
      'node_modules/p/p.js': '',
    },
    where: TS,
    says: 'the package "p" does not export "./inner.js", which etl.config.ts imports',
    fix: 'import a path that `exports` in the package.json of the package names',
  },
  {
    title: 'a package of a workspace that was not built',
    files: {
      ...config("import { a } from 'p';\nexport default { a };\n"),
      'node_modules/p/package.json': '{ "name": "p", "type": "module", "exports": "./dist/p.js" }',
    },
    where: TS,
    says: `can't find the file dist/p.js of the package "p", to which an import in etl.config.ts leads`,
    fix: 'build the package that should contain the file, or correct `exports` or `main` in its package.json',
  },
  {
    title: 'an import without extension in a module of a workspace package',
    files: {
      ...config("import './lib/index.mjs';\nexport default {};\n"),
      'lib/index.mjs': "import { sep } from 'node:path';\nimport './kinds';\nexport { sep };\n",
    },
    where: 'lib/index.mjs:2:8',
    says: `can't find the file "./kinds", which lib/index.mjs imports`,
  },
  {
    title: 'a require of a module with a top-level await',
    files: {
      ...config("const a = require('./a.ts');\nexport default { a };\n"),
      'a.ts': 'export const a: number = await Promise.resolve(1);\n',
    },
    where: /[\\/]a\.ts$/,
    says: 'the file has a top-level await, and `require` does not wait',
  },
];

describe('the error for a module that is not found', () => {
  for (const { title, files, where, says, fix } of ROWS) {
    it(`names the import and the right advice for ${title}`, async () => {
      using fixture = project(files);
      const error = await fixture.catchError();
      expect(error).to.include({ name: 'EtlError', code: 'ETL-2104', exitCode: 2 });
      if (typeof where === 'string') expect(error.where).to.equal(where);
      else expect(error.where).to.match(where);
      expect(error.why).to.include(says);
      if (fix !== undefined) expect(error.fix).to.equal(fix);
      const shown = [error.message, error.where, error.why, error.fix].join('\n');
      expect(shown).to.not.match(/node_modules|^\s+at /m);
    });
  }
});
