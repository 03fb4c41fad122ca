import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { bindNamed } from '../../../src/runtime/sql/bind.js';

const values = { ds: '2026-03-05', region: 'eu', n: 3, nothing: null, absent: undefined, e: 1 };

describe('bindNamed', () => {
  const rows: readonly [string, string, string, readonly unknown[]][] = [
    ['a name', 'select :ds', 'select $1', ['2026-03-05']],
    ['names in order of appearance', 'select :region, :ds', 'select $1, $2', ['eu', '2026-03-05']],
    ['the same name to the same number', 'select :ds, :n, :ds', 'select $1, $2, $1', ['2026-03-05', 3]],
    ['a name whose value is null', 'select :nothing', 'select $1', [null]],
    [
      'a name before a cast, and leaves the cast',
      'select :ds::date, x::text',
      'select $1::date, x::text',
      ['2026-03-05'],
    ],
    ['names without spaces around them', 'select a=:n,b>=:n,-:n', 'select a=$1,b>=$1,-$1', [3]],
    [
      'names in named arguments',
      'select f(n := :n, ds=>:ds)',
      'select f(n := $1, ds=>$2)',
      [3, '2026-03-05'],
    ],
    ['nothing in :=', 'select f(n:=1)', 'select f(n:=1)', []],
    ['a name right after :=', 'select f(n:=:n)', 'select f(n:=$1)', [3]],
    ['names in an array', 'select array[:n, :ds], a[:n]', 'select array[$1, $2], a[$1]', [3, '2026-03-05']],
    [
      'nothing in the upper bound of a slice',
      'select a[1:n], a[n:n], a[f(1):n], a[b[1]:n], a["x":n]',
      'select a[1:n], a[n:n], a[f(1):n], a[b[1]:n], a["x":n]',
      [],
    ],
    [
      'names in both bounds of a slice, with spaces around the colon',
      'select a[:n : :n]',
      'select a[$1 : $1]',
      [3],
    ],
    [
      'a name after a keyword in brackets',
      'select array[case when true then :n end]',
      'select array[case when true then $1 end]',
      [3],
    ],
    ['a name in a call in brackets', 'select a[f(1, :n)]', 'select a[f(1, $1)]', [3]],
    [
      'nothing in quotes',
      `select ':ds', E'\\':ds', ":ds", $$ :ds $$, $a$ :ds $a$`,
      `select ':ds', E'\\':ds', ":ds", $$ :ds $$, $a$ :ds $a$`,
      [],
    ],
    [
      'nothing in comments',
      'select 1 -- :ds\n/* :ds /* :ds */ :ds */',
      'select 1 -- :ds\n/* :ds /* :ds */ :ds */',
      [],
    ],
    ['the name e, which could start an escape string', 'select :e', 'select $1', [1]],
    ['nothing in a number after a colon', 'select a[1:2], :1', 'select a[1:2], :1', []],
    ['nothing in a statement with $1 only', 'select $1', 'select $1', []],
    ['nothing after a colon with a space', 'select a[1 : n]', 'select a[1 : n]', []],
  ];
  for (const [title, sql, text, bound] of rows) {
    it(`binds ${title}`, () => expect(bindNamed(sql, values)).to.deep.include({ text, values: bound }));
  }

  it('never puts a value into the text', () => {
    const hostile = "'; drop table t; -- $1 :ds";
    expect(bindNamed('select :x, :x', { x: hostile })).to.deep.include({
      text: 'select $1, $1',
      values: [hostile],
    });
  });

  const refused: readonly [string, string, Record<string, unknown>, RegExp, RegExp][] = [
    [
      'a misspelt name',
      'select\n:regoin',
      values,
      /^no value is named ":regoin"; did you mean "region"\?$/,
      /ds, e, n, nothing, region$/,
    ],
    ['a name whose value is undefined', 'select :absent', values, /":absent"/, /the names are/],
    ['a name that is a property of every object', 'select :toString', values, /":toString"/, /the names are/],
    ['a name if the statement has no values', 'select :ds', {}, /":ds"/, /has no values/],
    ['a name in another case', 'select :DS', values, /":DS"; did you mean "ds"/, /the names are/],
    ['a statement with both names and numbers', 'select :ds, $2', values, /both \$2 and :ds/, /each other/],
    ["psql's quoted text", "select :'ds'", values, /^:'ds' is a quoted variable of psql/, /bound as a value/],
    ["psql's quoted identifier", 'select * from :"ds"', values, /^:"ds" is a quoted variable/, /bound/],
  ];
  for (const [title, sql, given, message, why] of refused) {
    it(`refuses ${title}`, () => {
      expect(() => bindNamed(sql, given))
        .to.throw(EtlError, message)
        .that.includes({ code: 'ETL-3003' })
        .and.has.property('why')
        .that.matches(why);
    });
  }

  it('names the line of a name without a value', () => {
    expect(() => bindNamed('select\n1,\n:x', {}))
      .to.throw(EtlError)
      .with.property('where', 'line 3, column 1 of the SQL text\n:x\n^');
  });

  it('converts every index after a name to the index in the statement with names', () => {
    const sql = 'select :region, :e + :region, 😀, :n';
    const { text, findIndex } = bindNamed(sql, values);
    for (const word of ['select', ', ', '+ ', '😀', ', $3'])
      expect(findIndex(text.indexOf(word))).to.equal(sql.indexOf(word.replace('$3', ':n')), word);
  });
});
