import { expect } from 'chai';
import { rememberStatement } from '../../../src/runtime/postgres/failed-statement.js';
import { describeServerError } from '../../../src/runtime/postgres/server-error.js';
import type { DatabaseError } from '../../../src/runtime/postgres/sqlstate.js';

/**
 * Messages of PostgreSQL 15 in the languages of its message catalogues (`postgres-15.mo`), with the value SECRET:
 * a COPY's context with a column and a value, one without a column, the DETAIL of a unique violation, the DETAIL of a
 * foreign key violation, the DETAIL of a not-null violation, and the message of 22P02.
 */
const CATALOGUES: Readonly<Record<string, readonly [string, string, string, string, string, string]>> = {
  en: [
    'COPY t, line 3, column a: "SECRET"',
    'COPY t, line 3: "SECRET"',
    'Key (a, b)=(SECRET, 1) already exists.',
    'Key (a)=(SECRET) is not present in table "parent".',
    'Failing row contains (SECRET, null).',
    'invalid input syntax for type integer: "SECRET"',
  ],
  de: [
    'COPY t, Zeile 3, Spalte a: »SECRET«',
    'COPY t, Zeile 3: »SECRET«',
    'Schlüssel »(a, b)=(SECRET, 1)« existiert bereits.',
    'Schlüssel (a)=(SECRET) ist nicht in Tabelle »parent« vorhanden.',
    'Fehlgeschlagene Zeile enthält (SECRET, null).',
    'ungültige Eingabesyntax für Typ integer: »SECRET«',
  ],
  fr: [
    'COPY t, ligne 3, colonne a : « SECRET »',
    'COPY t, ligne 3 : « SECRET »',
    'La clé « (a, b)=(SECRET, 1) » existe déjà.',
    "La clé (a)=(SECRET) n'est pas présente dans la table « parent ».",
    'La ligne en échec contient (SECRET, null).',
    'syntaxe en entrée invalide pour le type integer : « SECRET »',
  ],
  es: [
    'COPY t, línea 3, columna a: «SECRET»',
    'COPY t, línea 3: «SECRET»',
    'Ya existe la llave (a, b)=(SECRET, 1).',
    'La llave (a)=(SECRET) no está presente en la tabla «parent».',
    'La fila que falla contiene (SECRET, null).',
    'la sintaxis de entrada no es válida para tipo integer: «SECRET»',
  ],
  ja: [
    'tのCOPY、行 3、列 a: "SECRET"',
    'tのCOPY、行 3: "SECRET"',
    'キー (a, b)=(SECRET, 1) はすでに存在します。',
    'テーブル"parent"にキー(a)=(SECRET)がありません',
    '失敗した行は(SECRET, null)を含みます',
    '"integer"型の入力構文が不正です: "SECRET"',
  ],
  ko: [
    't 복사, 3번째 줄, a 열: "SECRET"',
    't 복사, 3번째 줄: "SECRET"',
    '(a, b)=(SECRET, 1) 키가 이미 있습니다.',
    '(a)=(SECRET) 키가 "parent" 테이블에 없습니다.',
    '실패한 자료: (SECRET, null)',
    'integer 자료형 대한 잘못된 입력: "SECRET"',
  ],
  ru: [
    'COPY t, строка 3, столбец a: "SECRET"',
    'COPY t, строка 3: "SECRET"',
    'Ключ "(a, b)=(SECRET, 1)" уже существует.',
    'Ключ (a)=(SECRET) отсутствует в таблице "parent".',
    'Ошибочная строка содержит (SECRET, null).',
    'неверный синтаксис для типа integer: "SECRET"',
  ],
  ka: [
    'COPY t, ხაზი 3, სვეტი a: "SECRET"',
    'COPY t, ხაზი 3: "SECRET"',
    'გასაღები უკვე არსებობს: (a, b)=(SECRET, 1).',
    'Key (a)=(SECRET) is not present in table "parent".',
    'შეცდომიანი მწკრივი "(SECRET, null)"-ს შეიცავს.',
    'არასწორი შეყვანის სინტაქსი ტიპისთვის integer: "SECRET"',
  ],
  zh: [
    'COPY t, line 3, column a: "SECRET"',
    'COPY t, line 3: "SECRET"',
    '键值"(a, b)=(SECRET, 1)" 已经存在',
    '键值对(a)=(SECRET)没有在表"parent"中出现.',
    '失败, 行包含(SECRET, null).',
    '无效的类型 integer 输入语法: "SECRET"',
  ],
};

function createError(code: string, fields: Partial<DatabaseError>): DatabaseError {
  return Object.assign(new Error(fields.message ?? 'refused'), { severity: 'ERROR', ...fields, code });
}

describe('the text of a server error', () => {
  for (const [language, [cell, line, unique, foreign, row, value]] of Object.entries(CATALOGUES)) {
    it(`has the names and the COPY line, and no value of a row, in the language ${language}`, () => {
      const copy = {
        sql: 'copy "public"."t" ("a", "a b") from stdin',
        message: value,
        index: 0,
        connectionId: 'db',
      };
      const refused = createError('22P02', { message: value, where: `JSON data, line 1: SECRET\n${cell}` });
      rememberStatement(refused, copy);
      const ragged = createError('22P04', { where: line });
      rememberStatement(ragged, { ...copy, message: 'missing data for column "b"' });
      const texts = [
        describeServerError(refused),
        describeServerError(ragged),
        describeServerError(createError('23505', { detail: unique })),
        describeServerError(createError('23503', { detail: foreign })),
        describeServerError(createError('23502', { detail: row })),
      ];
      expect(texts.map(({ copy: position }) => position).slice(0, 2)).to.deep.equal([
        { table: 't', line: 3, column: 'a' },
        { table: 't', line: 3, column: undefined },
      ]);
      expect(texts[0]?.message).to.match(/…/);
      expect(texts[2]?.detail.join()).to.include('(a, b)=(…)');
      expect(texts[3]?.detail.join()).to.include('parent');
      for (const { rowData, ...shown } of texts) {
        expect(JSON.stringify(shown)).to.not.include('SECRET');
        expect(rowData).to.include('SECRET');
      }
    });
  }

  it('hides values that look like the words around them', () => {
    const hostile = [
      'x) y "SECRET',
      ')=(SECRET',
      'a\n(b)=(SECRET) c',
      '"SECRET" "',
      'SECRET) already exists.\nPL/pgSQL SECRET 1',
    ];
    for (const value of hostile) {
      const errors = [
        createError('23505', { detail: `Key (a)=(${value}) already exists.` }),
        createError('23514', { detail: `Failing row contains (1, ${value}).` }),
        createError('22P02', {
          message: `invalid input syntax for type integer: "${value}"`,
          where: `COPY t, line 1, column a: "${value}"`,
        }),
        createError('XX000', { message: 'parse error', hint: `"${value}" <-- parse error at position 2` }),
        createError('P0001', { detail: value }),
      ];
      for (const error of errors) {
        const { rowData, ...shown } = describeServerError(error);
        expect(JSON.stringify(shown), error.message).to.not.include('SECRET');
        expect(rowData, error.message).to.include('SECRET');
      }
    }
  });

  it('shows the names of a DETAIL and a HINT whole, up to ten lines', () => {
    const views = Array.from({ length: 12 }, (_, i) => `view v${i} depends on table t`);
    const error = createError('2BP01', { detail: views.join('\n'), hint: 'Use DROP … CASCADE.' });
    const { detail, hint, rowData } = describeServerError(error);
    expect(detail).to.deep.equal([...views.slice(0, 10), '… 2 more']);
    expect({ hint, rowData }).to.deep.equal({ hint: 'Use DROP … CASCADE.', rowData: undefined });
  });

  it('finds columns and tables with unusual names', () => {
    for (const [sql, where, table, column] of [
      ['copy "s"."a-b" ("x: y, z") from stdin', 'COPY a-b, line 7, column x: y, z: "1"', 'a-b', 'x: y, z'],
      ['COPY s.T (Total) FROM STDIN', 'COPY t, line 7, column total: "1"', 't', 'total'],
      ['copy "t.1(2)" from stdin', 'COPY t.1(2), line 7, column n: null input', 't.1(2)', 'n'],
    ] as const) {
      const error = createError('22P02', { where });
      rememberStatement(error, { sql, message: '', index: 0, connectionId: 'db' });
      expect(describeServerError(error).copy).to.deep.equal({ table, line: 7, column });
    }
  });
});
