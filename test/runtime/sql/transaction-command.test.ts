import { expect } from 'chai';
import fc from 'fast-check';
import { loadModule, parseSync } from 'libpg-query';
import {
  hasInnerBegin,
  readTransactionCommand,
  type TransactionCommand,
} from '../../../src/runtime/sql/transaction-command.js';

type Mode = { readonly DefElem: { readonly defname: string; readonly arg: { readonly A_Const: Constant } } };
type Constant = { readonly sval?: { readonly sval: string }; readonly ival?: { readonly ival?: number } };
interface Statement {
  readonly TransactionStmt?: { readonly kind: string; readonly options?: Mode[]; readonly chain?: boolean };
  readonly VariableSetStmt?: { readonly name: string; readonly args?: Mode[] };
}

/** Reads a text with PostgreSQL's own parser. Undefined for a text that the parser refuses. */
function parse(sql: string): readonly Statement[] | undefined {
  try {
    const { stmts = [] } = parseSync(sql) as { stmts?: { stmt: Statement }[] };
    return stmts.map(({ stmt }) => stmt);
  } catch {
    return undefined;
  }
}

/** The expected result of `readTransactionCommand`, by PostgreSQL's own parser. */
function expectCommand(sql: string): TransactionCommand | undefined {
  const [statement, ...others] = parse(sql) ?? [];
  if (others.length > 0) return undefined;
  const { VariableSetStmt: set, TransactionStmt: own } = statement ?? {};
  if (set?.name === 'TRANSACTION') return { kind: 'set', modes: toModes(set.args ?? []) };
  const kind = KINDS[own?.kind ?? ''];
  if (kind === undefined) return undefined;
  return kind === 'begin'
    ? { kind, modes: toModes(own?.options ?? []) }
    : { kind, isChained: own?.chain ?? false };
}

/** The kinds of the parser's statements that begin or end a transaction. */
const KINDS: Readonly<Record<string, 'begin' | 'commit' | 'rollback'>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
};

function toModes(options: readonly Mode[]): (TransactionCommand & { kind: 'begin' })['modes'] {
  const modes: Record<string, unknown> = {};
  for (const { DefElem } of options) {
    const { sval, ival } = DefElem.arg.A_Const;
    const isOn = ival?.ival === 1;
    if (DefElem.defname === 'transaction_isolation') modes['isolation'] = sval?.sval;
    if (DefElem.defname === 'transaction_read_only') modes['access'] = isOn ? 'read only' : 'read write';
    if (DefElem.defname === 'transaction_deferrable') modes['isDeferrable'] = isOn;
  }
  return modes;
}

const WORDS = [
  'begin',
  'start',
  'commit',
  'end',
  'rollback',
  'abort',
  'set',
  'local',
  'session',
  'work',
  'transaction',
  'and',
  'chain',
  'no',
  'to',
  'savepoint',
  'prepared',
  `'x'`,
  'isolation level serializable',
  'isolation level repeatable read',
  'isolation level read committed',
  'isolation level read uncommitted',
  'read only',
  'read write',
  'deferrable',
  'not deferrable',
  ',',
  ';',
  'snapshot',
  'select 1',
];

/** Starts of texts that random words seldom form. */
const STARTS = [
  'begin',
  'begin work',
  'begin transaction',
  'start transaction',
  'commit',
  'end transaction',
  'rollback work',
  'abort',
  'set transaction',
  'set local transaction',
];

describe('readTransactionCommand', () => {
  before(() => loadModule());

  it("reads a text as PostgreSQL's own parser does", () => {
    const space = fc.constantFrom(' ', '\n', '\t ', ' /* a /* nested */ comment; */ ', ' -- commit;\n');
    const word = fc.tuple(fc.constantFrom(...WORDS), space, fc.boolean());
    const text = fc
      .tuple(
        fc.option(space),
        fc.constantFrom('', ...STARTS),
        fc.array(word, { maxLength: 5 }),
        fc.constantFrom('', ';', ' ; '),
      )
      .map(([before, start, words, end]) => {
        const rest = words.map(([each, blank, isUpper]) => blank + (isUpper ? each.toUpperCase() : each));
        return `${before ?? ''}${start}${rest.join('')}${end}`;
      });
    let commands = 0;
    fc.assert(
      fc.property(text, (sql) => {
        const expected = expectCommand(sql);
        if (expected !== undefined) commands++;
        expect(readTransactionCommand(sql), sql).to.deep.equal(expected);
      }),
      { numRuns: 5000 },
    );
    expect(commands).to.be.greaterThan(500);
  });

  it('finds a BEGIN among several statements, and no word of another statement', () => {
    const texts: readonly (readonly [sql: string, isFound: boolean])[] = [
      ['begin; select 1', true],
      ['select 1; begin', true],
      ['select 1; start transaction; select 2; commit', true],
      ['begin', false],
      ['begin;', false],
      ['rollback; begin', false],
      [`select 'begin'; select 2`, false],
      ['do $$ begin perform 1; end $$; select 1', false],
      ['create function f() returns int begin atomic select 1; select 2; end; select 3', false],
      [`select '; begin`, false],
    ];
    for (const [sql, isFound] of texts) expect(hasInnerBegin(sql), sql).to.equal(isFound);
  });
});
