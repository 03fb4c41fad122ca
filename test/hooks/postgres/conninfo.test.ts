import { expect } from 'chai';
import * as fc from 'fast-check';
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import { parseConninfoText, parseConninfoUri } from '../../../src/hooks/postgres/conninfo.js';
import { resolveServers } from '../../../src/hooks/postgres/libpq.js';
import { isParameterName, PARAMETERS, type Parameter } from '../../../src/hooks/postgres/parameters.js';

/**
 * The answers of libpq. This command writes the file again. Its Python needs the package psycopg[binary]:
 *
 *     UPDATE_LIBPQ=1 npx mocha --no-package --import=tsx test/hooks/postgres/conninfo.test.ts
 *
 * With ETL_LIBPQ_STRINGS=20000 the test asks libpq about so many other strings, with the seed ETL_LIBPQ_SEED.
 */
const ANSWERS = fileURLToPath(new URL('../../fixtures/libpq/answers.json', import.meta.url));
const ASK = fileURLToPath(new URL('../../fixtures/libpq/ask-libpq.py', import.meta.url));

interface Answers {
  readonly version: number;
  /** By string: the parameters, or null if libpq refuses the string. */
  readonly strings: Readonly<Record<string, Readonly<Record<string, string>> | null>>;
  /** By string: whether libpq connects with these settings. */
  readonly settings: Readonly<Record<string, boolean>>;
  /** The variable of each parameter, or null if the parameter has none. */
  readonly parameters: Readonly<Record<string, string | null>>;
}

/** Strings for every rule of the two forms. */
const STRINGS: readonly string[] = [
  'postgres://',
  'postgresql://',
  'postgres://h',
  'postgres://h/db',
  'postgresql://u:p@h:5432/db?sslmode=require',
  'postgres://u:p#w@h/d',
  'postgres://u:p?w@h/d',
  'postgres://u:a/b@h',
  'postgres://u:p@q@h/d',
  'postgres://:p@h',
  'postgres://u:@h',
  'postgres://@h',
  'postgres://u[x@h',
  'postgres://:5/d',
  'postgres://h:/d',
  'postgres://a:1:2/d',
  'postgres://h1,h2/d',
  'postgres://h1:1,h2/d',
  'postgres://h1,h2:5/d',
  'postgres://h1:,h2:/d',
  'postgres://,/d',
  'postgres://h,',
  'postgres://h%2Ch2/d',
  'postgres://[::1]/d',
  'postgres://[::1]:5,[::2]/d',
  'postgres://[fe80::1%25eth0]:5432/d',
  'postgres://[h]/d',
  'postgres://[]',
  'postgres://[::1',
  'postgres://[::1]5432',
  'postgres://DB.Internal/Shop',
  'postgres://%2Fvar%2Frun%2Fpg:5433/d',
  'postgres://%40name/d',
  'postgres:///d?host=/cloudsql/project:region:instance',
  'postgres:///d?host=a,b&port=1,2',
  'postgres://h/a/b',
  'postgres://h/a+b?options=a+b',
  'postgres://h/d?',
  'postgres://h/d?&',
  'postgres://h/d?user=a&',
  'postgres://h/d?&user=a',
  'postgres://h?user=a&&dbname=b',
  'postgres://h?user=a@b',
  'postgres://h/?user=a@b',
  'postgres://h/d?user=a=b',
  'postgres://h/d?user',
  'postgres://h/d?user=a&user=b',
  'postgres://a@h/d?user=b&host=x&port=1&dbname=y&password=z',
  'postgres://h?host=&dbname=',
  'postgres://h?ssl=true',
  'postgres://h?ssl=1',
  'postgres://h?requiressl=1',
  'postgres://h?requiressl=0',
  'postgres://h?SSLMODE=require',
  'postgres://h?schema=public',
  'postgres://h?hostaddr=10.0.0.1&channel_binding=require&options=endpoint%3Dep-1',
  'postgres://h?options=-c%20search_path%3Da%2Cb',
  'postgres://h?application%5Fname=x',
  'postgres://h/%zz',
  'postgres://h/%4',
  'postgres://h/%00',
  'postgres://h/d b',
  'postgres://h/d ',
  'postgres:// h/d',
  'postgres://h/d?options=a b',
  'postgres://h/d?options= a',
  'postgres://é:ü@h/ä?application_name=%C3%A9',
  'host=h',
  'host=h port=5432 dbname=d user=u password=p',
  ' host = h  dbname\t=\nd ',
  "password='a b' user=u",
  String.raw`password='a\'b\\c' user=u`,
  String.raw`password=a\ b\'c user=u`,
  'host=h\\',
  "host='h'user=u",
  "host='h",
  String.raw`host='h\'`,
  "host=''",
  'host= user=u',
  'host=h foo',
  'host=h foo=1',
  '=h',
  'host==h',
  'host=a host=b',
  "user='u' password=it's",
  'requiressl=1',
  'ssl=true',
  'host=a,b port=1,2 target_session_attrs=read-write load_balance_hosts=random',
  'service=shop user=u',
  'options=-c\\ geqo=off',
  'host=/tmp',
  'host=@abstract',
  'hostaddr=::1',
];

/** Settings whose values libpq checks. */
const SETTINGS: readonly string[] = [
  ...['disable', 'allow', 'prefer', 'require', 'verify-ca', 'Require', 'no-verify', "''"].map(
    (value) => `sslmode=${value}`,
  ),
  ...['disable', 'prefer', 'Require', "''"].map((value) => `channel_binding=${value}`),
  ...['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby', 'master', "''"].map(
    (value) => `target_session_attrs=${value}`,
  ),
  ...['disable', 'random', 'round-robin', "''"].map((value) => `load_balance_hosts=${value}`),
  ...['disable', 'prefer', 'on', "''"].map((value) => `gssencmode=${value}`),
  ...['disable', 'allow', 'maybe', "''"].map((value) => `sslcertmode=${value}`),
  ...['postgres', 'direct', "''"].map((value) => `sslnegotiation=${value}`),
  'sslnegotiation=direct sslmode=require',
  'sslnegotiation=direct sslmode=allow',
  'sslrootcert=system sslmode=require',
  ...['TLSv1', 'tlsv1.3', 'TLSv1.2', 'SSLv3', '1.2', "''"].map(
    (value) => `ssl_min_protocol_version=${value}`,
  ),
  ...['TLSv1.1', 'TLSv1.2', 'TLSv1.3', 'x', "''"].map((value) => `ssl_max_protocol_version=${value}`),
  'ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2',
  "ssl_min_protocol_version='' ssl_max_protocol_version=TLSv1",
  ...['3.0', '2.0', "''"].map((value) => `min_protocol_version=${value}`),
  ...['3.0', '3.2', 'latest', '4'].map((value) => `max_protocol_version=${value}`),
  ...[
    'md5',
    'md5,password',
    'md5,md5',
    '!md5',
    '!md5,!none',
    '!md5,password',
    'md5,!password',
    'none',
    'x',
    'MD5',
    'oauth',
    "''",
    'md5,',
  ].map((value) => `require_auth=${value}`),
  ...['3', "' 3 '", '+3', '-1', '0', '1x', '1.5', '9999999999', "''", 'true'].map(
    (value) => `connect_timeout=${value}`,
  ),
  ...['0', '1', '2', '-1', 'on', "''"].map((value) => `keepalives=${value}`),
  ...['30', 'x', "''"].map((value) => `keepalives_idle=${value}`),
  ...['30', 'x', "''"].map((value) => `tcp_user_timeout=${value}`),
  ...['0', '1', '2', "''"].map((value) => `sslsni=${value}`),
  ...['0', '1', 'x'].map((value) => `sslcompression=${value}`),
  ...['', '1', 'x'].map((value) => `gssdelegation='${value}'`),
  'krbsrvname=postgres',
  'replication=false',
  'client_encoding=auto',
  "client_encoding=''",
  ...['1', "' 1 '", '0', '65535', '65536', '-1', 'x', "''"].map((value) => `host=127.0.0.1 port=${value}`),
  'host=127.0.0.1,127.0.0.1 port=1',
  'host=127.0.0.1,127.0.0.1 port=1,1',
  'host=127.0.0.1,127.0.0.1 port=1,1,1',
  'host=127.0.0.1 port=1,1',
  'host=a hostaddr=127.0.0.1 port=1',
  'host=a,b hostaddr=127.0.0.1 port=1',
  'host=a hostaddr=127.0.0.1,127.0.0.1 port=1',
  'hostaddr=localhost port=1',
  'hostaddr=127.0.0.1, host=a,127.0.0.1 port=1',
];

/** Parts of connection strings, which a property joins at random. */
const PARTS =
  'u p h1 h2.example 5432 / // : @ ? & = , [ ] ::1 %40 %2F %3A %zz %00 %C3%A9 %E9 + # é . - host port dbname user password sslmode require options ssl true requiressl 1 0 foo /tmp'
    .split(' ')
    .concat(' ', "'", '\\', '\t', "\\'", '');
const joined = fc.array(fc.constantFrom(...PARTS), { maxLength: 14 }).map((parts) => parts.join(''));
const word = fc
  .array(fc.constantFrom(...PARTS.filter((part) => !/[\s]/.test(part))), { maxLength: 3 })
  .map((parts) => parts.join(''));
const keyWord = fc.constantFrom(
  'host',
  'port',
  'dbname',
  'user',
  'password',
  'sslmode',
  'options',
  'hostaddr',
  'service',
  'foo',
);
const pair = fc.tuple(keyWord, word).map((both) => both.join('='));
const uri = fc
  .tuple(
    fc.constantFrom('postgres://', 'postgresql://'),
    fc.oneof(
      joined,
      fc
        .tuple(
          word,
          fc.constantFrom('@', ':', '/', ','),
          word,
          fc.constantFrom('', '/d', '?', '/?'),
          fc.array(pair, { maxLength: 3 }).map((pairs) => pairs.join('&')),
        )
        .map((all) => all.join('')),
    ),
  )
  .map((both) => both.join(''));
const text = fc.oneof(
  fc.array(pair, { minLength: 1, maxLength: 4 }).map((pairs) => pairs.join(' ')),
  fc.tuple(keyWord, joined).map((both) => both.join('=')),
);
const anyString = fc.oneof(uri, text);

function askLibpq(strings: readonly string[], settings: readonly string[]): Answers {
  const input = JSON.stringify({ strings, settings });
  const { stdout, stderr, status } = spawnSync('python3', [ASK], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`python3 with psycopg[binary] is needed: ${stderr}`);
  const answer = JSON.parse(stdout) as {
    version: number;
    strings: Answers['strings'][string][];
    settings: boolean[];
    parameters: Answers['parameters'];
  };
  const pairUp = <Value>(keys: readonly string[], values: readonly Value[]): Record<string, Value> =>
    Object.fromEntries(keys.map((key, index) => [key, values[index] as Value]));
  return {
    ...answer,
    strings: pairUp(strings, answer.strings),
    settings: pairUp(settings, answer.settings),
  };
}

/** Returns the parameters of a string, or null if it is refused. Also a parameter that does not exist is refused. */
function parse(string: string): Record<string, string> | null {
  const definition = { id: 'c', definedBy: '--conn', text: string };
  try {
    const found = /^postgres(?:ql)?:\/\//.test(string)
      ? parseConninfoUri(definition)
      : parseConninfoText(definition);
    return [...found.keys()].every(isParameterName) ? Object.fromEntries(found) : null;
  } catch (error) {
    if (error instanceof EtlError && error.code === 'ETL-2201') return null;
    throw error;
  }
}

/**
 * Says whether a string that libpq accepts is refused on purpose: an unencoded `@` of a password is in the host, the port or
 * the database, or in the query after a port that is no number.
 */
function isMistake(string: string): boolean {
  if (/^postgres(?:ql)?:\/\/[^@/]*:[^@/?]*[^@/?\d]/.test(string) && /[/?].*@/.test(string)) return true;
  return /^postgres(?:ql)?:\/\/(?:[^@/]*@)?[^?]*@/.test(string);
}

/** Expects the parameters that libpq finds, or that the string is refused if libpq refuses it. */
function compare(string: string, expected: Answers['strings'][string]): void {
  const found = parse(string);
  if (found === null && isMistake(string)) return;
  // The bytes of %E9 are no UTF-8 text, and a line break is nowhere meant.
  if (found === null && /%E9|[\t\n]/.test(string)) return;
  expect(found, JSON.stringify(string)).to.deep.equal(expected);
}

describe('a connection string', () => {
  let answers: Answers;

  before(async () => {
    if (process.env['UPDATE_LIBPQ']) {
      const strings = [...new Set([...STRINGS, ...fc.sample(anyString, { numRuns: 700, seed: 18 })])];
      await writeFile(ANSWERS, `${JSON.stringify(askLibpq(strings, SETTINGS), null, 1)}\n`);
    }
    answers = JSON.parse(await readFile(ANSWERS, 'utf8')) as Answers;
  });

  it('has the parameters that libpq finds, or is refused as libpq refuses it', () => {
    for (const [string, expected] of Object.entries(answers.strings)) compare(string, expected);
    expect(STRINGS.filter((string) => !Object.hasOwn(answers.strings, string))).to.deep.equal([]);
  });

  it('has the parameters that libpq finds in strings that are drawn now, if libpq is asked', () => {
    const numRuns = Number(process.env['ETL_LIBPQ_STRINGS'] ?? 0);
    const seed = Number(process.env['ETL_LIBPQ_SEED'] ?? Date.now() % 2 ** 31);
    if (numRuns === 0) return;
    const { strings } = askLibpq(fc.sample(anyString, { numRuns, seed }), []);
    for (const [string, expected] of Object.entries(strings)) {
      try {
        compare(string, expected);
      } catch (error) {
        throw new Error(`ETL_LIBPQ_SEED=${seed}`, { cause: error });
      }
    }
  });

  it('can have every parameter of libpq, and each parameter has the variable that libpq gives it', () => {
    const known: readonly [string, Parameter][] = Object.entries(PARAMETERS);
    expect(Object.fromEntries(known.map(([name, { variable }]) => [name, variable ?? null]))).to.deep.equal(
      answers.parameters,
    );
  });

  it('is accepted with the values of parameters that libpq accepts', () => {
    const settings = Object.entries(answers.settings);
    const found = settings.map(([string]) => {
      try {
        const connection = parseConnection('c', `user=u ${string}`, '--conn');
        resolveServers(connection, { applicationName: 'etl', variables: {}, notice: () => undefined });
        return [string, true];
      } catch (error) {
        expect(error).to.be.instanceOf(EtlError).with.property('code', 'ETL-2206', string);
        return [string, false];
      }
    });
    expect(found).to.deep.equal(settings);
    expect(SETTINGS.filter((string) => !Object.hasOwn(answers.settings, string))).to.deep.equal([]);
  });
});
