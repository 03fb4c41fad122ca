import { expect } from 'chai';
import * as fc from 'fast-check';
import { EtlError } from '../../../src/errors.js';
import { readTokens } from '../../../src/runtime/sql/scan.js';
import { splitStatements } from '../../../src/runtime/sql/split.js';

function texts(sql: string): string[] {
  return splitStatements(sql).map(({ text }) => text);
}

describe('splitStatements', () => {
  const rows: readonly [string, string, readonly string[]][] = [
    ['at semicolons', 'select 1; select 2 ;select 3', ['select 1', 'select 2', 'select 3']],
    ['an empty file into nothing', ' \n', []],
    ['comments and semicolons into nothing', '; -- a;\n ;/* b; */;', []],
    ['a file with a byte order mark, without the mark', '\ufeffselect 1', ['select 1']],
    ['not in a text', "select ';', 'it''s; ok'; select 2", ["select ';', 'it''s; ok'", 'select 2']],
    ['after a backslash in a text', String.raw`select '\'; select 2`, [String.raw`select '\'`, 'select 2']],
    [
      'not after an escaped quote',
      String.raw`select E'\'; ' ; select 2`,
      [String.raw`select E'\'; '`, 'select 2'],
    ],
    [
      'after an escaped backslash',
      String.raw`select e'\\'; select 2`,
      [String.raw`select e'\\'`, 'select 2'],
    ],
    [
      'not in a continued text with escapes',
      "select E'a'\n -- b\n '\\'; c'; select 2",
      ["select E'a'\n -- b\n '\\'; c'", 'select 2'],
    ],
    [
      'after a name that ends in e',
      String.raw`select type'\'; select 2`,
      [String.raw`select type'\'`, 'select 2'],
    ],
    ['not in a quoted name', 'select "a;""b;" ; select 2', ['select "a;""b;"', 'select 2']],
    ['not in dollar quotes', 'do $$ begin; end $$; select 2', ['do $$ begin; end $$', 'select 2']],
    ['not in dollar quotes with a tag', 'do $a$ $$; $b$; $a$; select 2', ['do $a$ $$; $b$; $a$', 'select 2']],
    ['not in dollar quotes with letters', 'do $été$ ; $été$; select 2', ['do $été$ ; $été$', 'select 2']],
    ['after a dollar in a name', 'select a$b; select c$b', ['select a$b', 'select c$b']],
    ['after a parameter', 'select $1; select $1', ['select $1', 'select $1']],
    [
      'not in nested comments',
      'select 1 /* a; /* b; */ c; */ + 1; select 2',
      ['select 1 /* a; /* b; */ c; */ + 1', 'select 2'],
    ],
    ['not in a line comment', 'select 1 -- a; b\n + 1; select 2', ['select 1 -- a; b\n + 1', 'select 2']],
    ['after a line comment that ends in CR', 'select 1 -- a;\r; select 2', ['select 1', 'select 2']],
    [
      'where no comment starts',
      "select 1 - -1, '--'; select 2*/* c */3",
      ["select 1 - -1, '--'", 'select 2*/* c */3'],
    ],
    [
      'not in parentheses',
      'create rule r as on insert to t do also (insert into a select 1; delete from b); select 2',
      ['create rule r as on insert to t do also (insert into a select 1; delete from b)', 'select 2'],
    ],
    ['after a parenthesis that was never opened', 'select 1); select 2', ['select 1)', 'select 2']],
    [
      'not in a routine body',
      'CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC select 1; select case when a > 1 then 2 end; END; select 2',
      [
        'CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC select 1; select case when a > 1 then 2 end; END',
        'select 2',
      ],
    ],
    [
      'not after an `end` that is a name in a routine body',
      'create procedure p() begin atomic select t.end as end from t; select 1; end; select 2',
      ['create procedure p() begin atomic select t.end as end from t; select 1; end', 'select 2'],
    ],
    ['after BEGIN of a transaction', 'begin; select 1; end', ['begin', 'select 1', 'end']],
    [
      'after a case',
      'select case when true then 1 end; select 2',
      ['select case when true then 1 end', 'select 2'],
    ],
    ['into statements without the comments around them', '-- head\nselect 1 -- tail\n;', ['select 1']],
    [
      'into statements with their planner hint',
      '-- head\n/*+ SeqScan(t) */ select 1;',
      ['/*+ SeqScan(t) */ select 1'],
    ],
  ];
  for (const [title, sql, expected] of rows) {
    it(`splits ${title}`, () => expect(texts(sql)).to.deep.equal(expected));
  }

  it('returns the line on which each statement starts', () => {
    const sql = "-- head\n\nselect 'a\nb';\r\n\r\nselect 2; select 3;\n/* x\n */ select\n4";
    expect(splitStatements(sql).map(({ line }) => line)).to.deep.equal([3, 6, 6, 8]);
  });

  const refused: readonly [string, string, string, string][] = [
    ['a text', "select 1;\nselect 'a;\nb", 'a quoted text does not end', 'line 2, column 8'],
    ['a text with escapes', "select E'a\\'", "a quoted text E' does not end", 'line 1, column 8'],
    ['a quoted name', '\n\nselect "a', 'a quoted identifier does not end', 'line 3, column 8'],
    ['a dollar quote', 'do $a$ begin $b$', 'a text in $a$ does not end', 'line 1, column 4'],
    ['a comment', 'select 1;\n/* /* */', 'a comment /* does not end', 'line 2, column 1'],
  ];
  for (const [title, sql, message, where] of refused) {
    it(`refuses ${title} that does not end`, () => {
      expect(() => splitStatements(sql))
        .to.throw(EtlError, message)
        .that.satisfies((error: EtlError) => error.code === 'ETL-3002' && error.where?.startsWith(where));
    });
  }

  it('refuses a NUL character', () => {
    expect(() => splitStatements("select '\n\0'"))
      .to.throw(EtlError, /NUL/)
      .that.has.property('where')
      .that.matches(/^line 2, column 1 of the SQL text\n/);
  });

  it('splits 5 MB of quotes, comments and parentheses in linear time', () => {
    const many = ["'a;''' ", '$x$;$x$ ', '/*;*/', '-- ;\n', "E'\\''\n", '(', ')', 'a$', '":"', '$1 ', ' '];
    for (const part of many) {
      const sql = part.repeat(Math.ceil(500_000 / part.length));
      expect(splitStatements(`select ${sql}`)).to.have.length(1);
    }
    expect(splitStatements('select 1;\n'.repeat(50_000)).at(-1)).to.deep.equal({
      text: 'select 1',
      line: 50_000,
      start: 49_999 * 10,
    });
  });

  it('returns the statements of which a text was joined', () => {
    const piece = fc.constantFrom(
      "';'",
      "E'\\';'",
      '$$;$$',
      '$a$ $$;$a$',
      '/* ; */',
      '-- ;\n',
      '(;)',
      '";"',
      'x',
      '1',
      ':a',
      '+',
    );
    const statement = fc
      .array(piece, { minLength: 1, maxLength: 6 })
      .map((pieces) => `select ${pieces.join(' ')} x`);
    fc.assert(
      fc.property(fc.array(statement), (statements) => {
        expect(texts(statements.join(' ;\n'))).to.deep.equal(statements);
      }),
    );
  });
});

describe('readTokens', () => {
  it('covers every character of a text exactly once, or throws ETL-3002', () => {
    const text = fc.string({
      unit: fc.constantFrom(...Array.from('eEa1_$\'"\\-/*:=;,.()[] \n\r\ufeffé😀\0')),
    });
    fc.assert(
      fc.property(text, (sql) => {
        try {
          expect(Array.from(readTokens(sql), ({ start, end }) => sql.slice(start, end)).join('')).to.equal(
            sql,
          );
        } catch (error) {
          expect(error).to.be.instanceOf(EtlError).with.property('code', 'ETL-3002');
        }
      }),
      { numRuns: 2000 },
    );
  });
});
