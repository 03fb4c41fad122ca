import { expect } from 'chai';
import fc from 'fast-check';
import { readDefinition, readUrlsInText } from '../../../src/runtime/secrets/credentials.js';
import { Secrets } from '../../../src/runtime/secrets/secrets.js';
import { NOTATIONS } from '../../support/notations.js';
import { isSecretName } from '../../../src/runtime/secrets/secret-names.js';

/** A mask that knows these secrets. */
function know(...list: readonly string[]): Secrets {
  const secrets = new Secrets();
  secrets.add({ secrets: list, known: [] });
  return secrets;
}

/** A mask that knows the secrets of these definitions of connections. */
function define(...definitions: readonly string[]): Secrets {
  const secrets = new Secrets();
  for (const text of definitions) secrets.add(readDefinition(text));
  return secrets;
}

/** Secrets of 6 to 40 characters that are no ordinary word. */
const SECRET = fc
  .string({
    unit: fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...Array.from('abcXYZ0189')) },
      { weight: 3, arbitrary: fc.constantFrom(...Array.from('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~')) },
      { weight: 1, arbitrary: fc.constantFrom(' ', 'é', 'ß', '漢', '😀', '%', '\\') },
    ),
    minLength: 6,
    maxLength: 40,
  })
  .filter(
    (secret) => secret === secret.trim() && /[a-z0-9].*[a-z0-9]/i.test(secret) && !/^[*.x]+$/i.test(secret),
  );

describe('a mask', () => {
  for (const [name, write] of Object.entries(NOTATIONS)) {
    it(`hides a secret: ${name}`, () => {
      fc.assert(
        fc.property(SECRET, (secret) => {
          const masked = know(secret).mask(`before [${write(secret)}] after`);
          expect(masked).to.match(/^before \[.*\*\*\*.*\] after$/s);
          // Only the quotation marks may stay, and up to two characters of base64 on each side.
          const rest = masked.length - 'before [***] after'.length - write('').length;
          expect(rest, masked).to.be.at.most(4);
        }),
        { numRuns: 100 },
      );
    });
  }

  it('hides both of two secrets that overlap', () => {
    expect(know('abcdef123', '123ghijkl').mask('x abcdef123ghijkl y')).to.equal('x *** y');
  });

  it('hides the lines and the pieces of a long secret', () => {
    const lines = ['a', 'b', 'c'].map((each) => each.repeat(40) + '1');
    const key = `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
    expect(know(key).mask(`the line ${lines[1]} is wrong`)).to.equal('the line *** is wrong');
    const token = 'abcdefgh01234567'.repeat(10);
    expect(know(token).mask(`cut: ${token.slice(0, 100)}`)).to.match(/^cut: \*\*\*\w{4}$/);
  });

  it('hides the beginning of a secret where a text was cut', () => {
    fc.assert(
      fc.property(
        SECRET,
        fc.nat(),
        fc.constantFrom(...Object.values(NOTATIONS).slice(0, 8)),
        (secret, at, write) => {
          const secrets = know(secret);
          const written = write(secret);
          const masked = secrets.mask(`before ${written.slice(0, at % written.length)}… after`);
          const shown = masked.slice('before '.length, -'… after'.length);
          expect(
            shown === '***' || write(Array.from(secret).slice(0, 6).join('')).startsWith(shown),
            shown,
          ).to.equal(true);
        },
      ),
      { numRuns: 300 },
    );
    expect(know('hunter22').mask('the hunt is on… hunter2…')).to.equal('the hunt is on… ***…');
  });

  it('covers a secret with as many stars', () => {
    const sql = "alter role x password 'hunter22' valid until now()";
    const covered = know('hunter22').cover(sql);
    expect(covered).to.equal("alter role x password '********' valid until now()");
  });

  const readable: [title: string, definition: string, text: string][] = [
    ['the value of a harmless parameter', 'postgres://u:hunter22@h?sslnegotiation=postgres', 'postgres'],
    ['the user in a parameter', 'postgres://u:hunter22@h?user=warehouse', 'warehouse'],
    ['a password of three characters', 'postgres://u:etl@h/shop', 'etl is the schema of the ledger'],
    ['a password that equals the login', 'postgres://warehouse:warehouse@h/shop', 'the warehouse is full'],
    ['a password that equals the database', 'postgres://u:warehouse@h/warehouse', 'the warehouse is full'],
    ['a password that etl prints itself', 'postgres://u:postgres@h/shop', 'postgres://u@h/shop success'],
    ['a short password inside a word', 'postgres://u:load5@h/shop', 'reload50'],
    ['an empty password', 'postgres://u:@h/shop', 'text'],
    ['options without a secret', 'postgres://u@h/shop?options=-csearch_path', '-csearch_path'],
  ];
  for (const [title, definition, text] of readable) {
    it(`leaves ${title} readable`, () => {
      expect(define(definition).mask(text)).to.equal(text);
    });
  }

  const hidden: [title: string, text: string, masked: string][] = [
    ['the password of a URL', 'dial postgres://ann:pw@db/shop', 'dial postgres://ann:***@db/shop'],
    ['a password with an unencoded /', 'see postgres://ann:p/w@db', 'see postgres://ann:***@db'],
    ['the token of an http URL', 'get https://ghp_12ab@github.com/x', 'get https://***@github.com/x'],
    ['a signature', 'https://s3/x?a=1&X-Amz-Signature=12ab&b=2', 'https://s3/x?a=1&X-Amz-Signature=***&b=2'],
    ['a shared access signature', 'https://b/x?sv=1&sig=ab%2F', 'https://b/x?sv=1&sig=***'],
    ['an API key', 'https://b/x?key=12', 'https://b/x?key=***'],
    ["libpq's password", "host=db password='it''s' port=1", "host=db password='***' port=1"],
    ['a password in JSON', '{"password": "a\\"b", "a": 1}', '{"password": "***", "a": 1}'],
    ['a password in SQL', "create role a password 'pw'", "create role a password '***'"],
    ['a header', 'authorization: Basic YTpi, x', 'authorization: Basic ***, x'],
  ];
  for (const [title, text, masked] of hidden) {
    it(`hides ${title} that nobody has added`, () => {
      expect(new Secrets().mask(text)).to.equal(masked);
    });
  }

  for (const text of [
    'https://registry:4873/@scope/name',
    'keyword strings (host=... password=...) are not supported',
    'write postgres://<login>:<password>@<host>:5432/<database>?sslmode=require',
    'neither the connection nor PGPASSWORD nor the password file has a password',
    'mail ann@example.com at 10:30',
  ]) {
    it(`does not change "${text}"`, () => {
      expect(new Secrets().mask(text)).to.equal(text);
    });
  }
});

describe('the definition of a connection', () => {
  const cases: [definition: string, ...secrets: string[]][] = [
    ['postgres://ann:p%21ss%2Aword@db/shop', 'p%21ss%2Aword', 'p!ss*word'],
    ['postgres://ann:pa/ss@db/shop', 'pa/ss'],
    ['postgres://ann:pa#s?s@rd@db/shop', 'pa#s?s@rd'],
    ['postgres//ann:hunter22@db', 'hunter22'],
    ['"postgres://ann:hunter22@db"', 'hunter22'],
    ['postgres://db/shop?password=a+b%2Bc', 'a+b%2Bc', 'a b+c'],
    ['postgres://db/?__extra__=%7B%22token%22%3A%22t0ken%22%7D', 't0ken'],
    ['http://ghp_token1@host/', 'ghp_token1'],
    ['hunter22', 'hunter22'],
    ['{"conn_type":"postgres","password":"a\\"b"}', 'a"b'],
    ['{"conn_type":"x","extra":"{\\"private_key\\":\\"k3y\\"}"}', 'k3y'],
    ['{"conn_type":"x","extra":{"a":{"api_key":"k3y"}}}', 'k3y'],
    ['{"password":"half a te', 'half a te'],
    [String.raw`host=db password='a\'b c'`, "a'b c"],
  ];
  for (const [definition, ...secrets] of cases) {
    it(`has the secret ${secrets.join(' and ')}: ${definition}`, () => {
      expect(readDefinition(definition).secrets).to.include.members(secrets);
    });
  }

  it('has no secret if it has no password', () => {
    const { secrets } = readDefinition(
      'postgres://ann@db:5432/shop?sslmode=require&options=-cx%3Dy&sslkey=k',
    );
    expect(secrets).to.deep.equal([]);
  });
});

describe('a text', () => {
  it('has the secrets of its URLs, but not of templates', () => {
    const text = "db: 'postgres://a:hunter22@h/x', x: `postgres://${user}:${password}@h`, z: 'http://h/x'";
    expect(readUrlsInText(text).secrets).to.deep.equal(['hunter22']);
  });
});

describe('the name of a value', () => {
  for (const name of [
    'PGPASSWORD',
    'AWS_SECRET_ACCESS_KEY',
    'GITHUB_TOKEN',
    'clientSecret',
    'X-Amz-Security-Token',
    'sig',
    'DB_PASS',
    'extra__google_cloud_platform__keyfile_dict',
    'sslpassword',
  ]) {
    it(`says that the value is secret: ${name}`, () => expect(isSecretName(name)).to.equal(true));
  }
  for (const name of [
    'PWD',
    'sslkey',
    'tokenizer',
    'PRIMARY_KEY',
    'PGPASSFILE',
    'options',
    'SSH_AUTH_SOCK',
  ]) {
    it(`says that the value is no secret: ${name}`, () => expect(isSecretName(name)).to.equal(false));
  }
});
