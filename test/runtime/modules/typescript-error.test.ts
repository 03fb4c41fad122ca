import { expect } from 'chai';
import { project, type Files } from '../config/config-project.js';

interface Row {
  readonly title: string;
  readonly files: Files;
  readonly code: string;
  readonly where: string | RegExp;
  readonly says: string;
}

const TS = 'etl.config.ts';
const config = (text: string): Files => ({ [TS]: text });

const ROWS: readonly Row[] = [
  {
    title: 'a tsconfig.json that extends a file that does not exist',
    files: {
      ...config("import 'p';\nexport default {};\n"),
      'tsconfig.json': '{ "extends": "./none.json" }',
    },
    code: 'ETL-2103',
    where: /[\\/]tsconfig\.json$/,
    says: 'none.json',
  },
  {
    title: 'JSX without the option jsx',
    files: {
      ...config("import './a.js';\nexport default {};\n"),
      'a.tsx': 'const n = 1;\nexport const a = <b>{n}</b>;\n',
    },
    code: 'ETL-2103',
    where: 'a.tsx:2:18',
    says: 'JSX needs the compiler option "jsx"',
  },
  {
    title: 'a syntax error beside a decorator',
    files: config('declare const d: any;\n@d class A {\n  a = ;\n}\nexport default { A };\n'),
    code: 'ETL-2103',
    where: `${TS}:3:7`,
    says: 'Expression expected',
  },
  {
    title: 'an error that a class with a standard decorator throws',
    files: config(
      "const d = (value: unknown): void => void value;\nenum E { A = 1 }\n@d class A {\n  static run(): void { throw new Error('x' + E.A); }\n}\nA.run();\nexport default {};\n",
    ),
    code: 'ETL-2104',
    where: `${TS}:4:30`,
    says: 'Error: x1',
  },
];

describe('the error in a file that TypeScript compiles', () => {
  for (const { title, files, code, where, says } of ROWS) {
    it(`names the location of ${title}`, async () => {
      using fixture = project(files);
      const error = await fixture.catchError();
      expect(error).to.include({ name: 'EtlError', code, exitCode: 2 });
      // The line of the code follows.
      if (typeof where === 'string') expect(error.where?.split('\n')[0]).to.equal(where);
      else expect(error.where).to.match(where);
      expect(error.why).to.include(says);
    });
  }
});
