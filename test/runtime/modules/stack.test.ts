import { expect } from 'chai';
import { project } from '../config/config-project.js';

/** The second line of a config. The line fails at the character `@`, which the test removes. */
const LINES: { title: string; line: string }[] = [
  { title: 'an enum', line: "enum A { B = 1, C } const a: A = A.C; throw @new Error('x' + a);" },
  { title: 'a namespace', line: "namespace N { export const a = 1 as number; throw @new Error('x' + a); }" },
  {
    title: 'properties that a constructor declares',
    line: "class A { constructor(readonly a: T, public b?: string) { throw @new Error('x' + a); } } new A(1);",
  },
  {
    title: 'a generic function',
    line: 'const f = <A,>(x: A): A => { if (x as T) throw @new Error(); return x; }; f(1);',
  },
  {
    title: 'a template',
    line: 'const a = `${join(`b${1 as T}`)}`; const b = (): void => { throw @new Error(a); }; b();',
  },
  { title: 'an assertion', line: 'const a: { b?: { c(): void } } = {}; const z = a.b!.@c();' },
  { title: 'import.meta', line: 'const { url } = import.meta; const a: string = url; throw @new Error(a);' },
  { title: 'letters of two units', line: "const a: string = 'ä😀'; throw @new Error(a);" },
  { title: 'a call of an imported function', line: 'const a = 1 as any; const b: string = @join(a);' },
];

describe('the position of an error in compiled code', () => {
  for (const { title, line } of LINES) {
    for (const [end, name] of [
      ['\n', 'a line feed'],
      ['\r\n', 'the line ends of Windows'],
    ] as const) {
      it(`is that of the user's file after ${title}, with ${name}`, async () => {
        const text = [
          "import { join } from 'node:path'; type T = 1;",
          line.replace('@', ''),
          'export default {};',
        ];
        using fixture = project({ 'etl.config.ts': text.join(end) });
        const where = `etl.config.ts:2:${line.indexOf('@') + 1}`;
        expect((await fixture.catchError()).where, 'compiled').to.equal(where);
        expect((await fixture.catchError()).where, 'from the cache').to.equal(where);
      });
    }
  }
});
