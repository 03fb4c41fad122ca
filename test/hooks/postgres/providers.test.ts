import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { formatDsn } from '../../../src/hooks/connection.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import { resolveServers } from '../../../src/hooks/postgres/libpq.js';

/** A token as `aws rds generate-db-auth-token` writes it, with a made-up signature. */
const IAM_TOKEN =
  'shop.c9akciq32.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=etl&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAMADEUP%2F20261128%2Feu-west-1%2Frds-db%2Faws4_request&X-Amz-Signature=0a1b2c==';

interface Expected {
  readonly host: string;
  readonly port?: number;
  readonly login: string;
  readonly password?: string;
  readonly database: string;
  readonly mode?: string;
  readonly options?: string;
  readonly channelBinding?: string;
  readonly notices?: number;
}

/** The connection strings that providers show, with made-up secrets, and what libpq makes of them. */
const STRINGS: readonly (readonly [title: string, string: string, expected: Expected])[] = [
  [
    'Neon: the pooler',
    'postgresql://etl_owner:npg_m4deUp@ep-cool-darkness-123456-pooler.eu-central-1.aws.neon.tech/shop?sslmode=require&channel_binding=require',
    {
      host: 'ep-cool-darkness-123456-pooler.eu-central-1.aws.neon.tech',
      login: 'etl_owner',
      password: 'npg_m4deUp',
      database: 'shop',
      mode: 'require',
      channelBinding: 'require',
    },
  ],
  [
    'Neon: the endpoint in options',
    'postgresql://etl_owner:npg_m4deUp@ep-cool-darkness-123456.eu-central-1.aws.neon.tech/shop?sslmode=require&options=endpoint%3Dep-cool-darkness-123456',
    {
      host: 'ep-cool-darkness-123456.eu-central-1.aws.neon.tech',
      login: 'etl_owner',
      password: 'npg_m4deUp',
      database: 'shop',
      mode: 'require',
      options: 'endpoint=ep-cool-darkness-123456',
    },
  ],
  [
    'Supabase: the transaction pooler with the parameter of Prisma',
    'postgresql://postgres.abcdefghijklmnop:m4de-Up!@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true',
    {
      host: 'aws-0-eu-central-1.pooler.supabase.com',
      port: 6543,
      login: 'postgres.abcdefghijklmnop',
      password: 'm4de-Up!',
      database: 'postgres',
      notices: 1,
    },
  ],
  [
    'Supabase: the session pooler',
    'postgres://postgres.abcdefghijklmnop:m4de-Up!@aws-0-eu-central-1.pooler.supabase.com:5432/postgres?sslmode=require&supa=base-pooler.x',
    {
      host: 'aws-0-eu-central-1.pooler.supabase.com',
      login: 'postgres.abcdefghijklmnop',
      password: 'm4de-Up!',
      database: 'postgres',
      mode: 'require',
      notices: 1,
    },
  ],
  [
    'Supabase: the direct connection',
    'postgresql://postgres:m4de-Up!@db.abcdefghijklmnop.supabase.co:5432/postgres',
    {
      host: 'db.abcdefghijklmnop.supabase.co',
      login: 'postgres',
      password: 'm4de-Up!',
      database: 'postgres',
    },
  ],
  [
    'RDS: the bundle of certificates',
    'host=shop.c9akciq32.eu-west-1.rds.amazonaws.com port=5432 dbname=shop user=etl sslmode=verify-full sslrootcert=/certs/global-bundle.pem',
    {
      host: 'shop.c9akciq32.eu-west-1.rds.amazonaws.com',
      login: 'etl',
      database: 'shop',
      mode: 'verify-full',
    },
  ],
  [
    'RDS: an IAM token in a string of key words',
    `host=shop.c9akciq32.eu-west-1.rds.amazonaws.com dbname=shop user=etl sslmode=require password='${IAM_TOKEN}'`,
    {
      host: 'shop.c9akciq32.eu-west-1.rds.amazonaws.com',
      login: 'etl',
      password: IAM_TOKEN,
      database: 'shop',
      mode: 'require',
    },
  ],
  [
    'RDS: an IAM token in a URI',
    `postgres://etl:${encodeURIComponent(IAM_TOKEN)}@shop.c9akciq32.eu-west-1.rds.amazonaws.com:5432/shop?sslmode=require`,
    {
      host: 'shop.c9akciq32.eu-west-1.rds.amazonaws.com',
      login: 'etl',
      password: IAM_TOKEN,
      database: 'shop',
      mode: 'require',
    },
  ],
  [
    'Cloud SQL: the Unix socket as a parameter',
    'postgresql://etl:m4deUp@/shop?host=/cloudsql/project-1:europe-west1:shop-db',
    { host: '/cloudsql/project-1:europe-west1:shop-db', login: 'etl', password: 'm4deUp', database: 'shop' },
  ],
  [
    'Cloud SQL: the Unix socket as a host',
    'postgresql://etl:m4deUp@%2Fcloudsql%2Fproject-1%3Aeurope-west1%3Ashop-db/shop',
    { host: '/cloudsql/project-1:europe-west1:shop-db', login: 'etl', password: 'm4deUp', database: 'shop' },
  ],
  [
    'Cloud SQL: the Unix socket in a string of key words',
    'user=etl password=m4deUp dbname=shop host=/cloudsql/project-1:europe-west1:shop-db',
    { host: '/cloudsql/project-1:europe-west1:shop-db', login: 'etl', password: 'm4deUp', database: 'shop' },
  ],
  [
    'Azure: a user with the name of the server',
    'postgresql://etl%40shop-server:m4deUp@shop-server.postgres.database.azure.com:5432/shop?sslmode=require',
    {
      host: 'shop-server.postgres.database.azure.com',
      login: 'etl@shop-server',
      password: 'm4deUp',
      database: 'shop',
      mode: 'require',
    },
  ],
  [
    'Azure: the string for psql',
    'host=shop-server.postgres.database.azure.com port=5432 dbname=shop user=etl@shop-server password=m4deUp sslmode=require',
    {
      host: 'shop-server.postgres.database.azure.com',
      login: 'etl@shop-server',
      password: 'm4deUp',
      database: 'shop',
      mode: 'require',
    },
  ],
  [
    'Heroku: DATABASE_URL',
    'postgres://abcdefghijklmn:0123456789abcdef@ec2-203-0-113-7.eu-west-1.compute.amazonaws.com:5432/d1a2b3c4',
    {
      host: 'ec2-203-0-113-7.eu-west-1.compute.amazonaws.com',
      login: 'abcdefghijklmn',
      password: '0123456789abcdef',
      database: 'd1a2b3c4',
    },
  ],
  [
    "Heroku: JDBC's parameter for TLS, which libpq reads, too",
    'postgres://abcdefghijklmn:0123456789abcdef@ec2-203-0-113-7.eu-west-1.compute.amazonaws.com:5432/d1a2b3c4?ssl=true',
    {
      host: 'ec2-203-0-113-7.eu-west-1.compute.amazonaws.com',
      login: 'abcdefghijklmn',
      password: '0123456789abcdef',
      database: 'd1a2b3c4',
      mode: 'require',
    },
  ],
  [
    'Prisma: the string of its guide',
    'postgresql://etl:m4deUp@localhost:5432/shop?schema=public&connection_limit=5&pool_timeout=10',
    { host: 'localhost', login: 'etl', password: 'm4deUp', database: 'shop', notices: 1 },
  ],
  [
    'Rails: the string of its guide',
    'postgresql://etl:m4deUp@localhost/shop?pool=5&encoding=utf8&prepared_statements=false',
    { host: 'localhost', login: 'etl', password: 'm4deUp', database: 'shop', notices: 1 },
  ],
  [
    'Django: a lasting connection',
    'postgres://etl:m4deUp@localhost/shop?conn_max_age=600',
    { host: 'localhost', login: 'etl', password: 'm4deUp', database: 'shop', notices: 1 },
  ],
];

/** Strings that libpq refuses, and a part of the text that says what to write. */
const REFUSED: readonly (readonly [title: string, string: string, code: string, message: RegExp])[] = [
  [
    "node-postgres's mode on Heroku",
    'postgres://u:p@h/d?sslmode=no-verify',
    'ETL-2206',
    /"sslmode".*write sslmode=require/,
  ],
  [
    "node-postgres's other name of it",
    'postgres://u:p@h/d?ssl=no-verify',
    'ETL-2204',
    /"ssl".*write sslmode=require/,
  ],
  ['ssl=1', 'postgres://u:p@h/d?ssl=1', 'ETL-2204', /"ssl".*write sslmode=require/],
  [
    "Django's ssl_require",
    'postgres://u:p@h/d?ssl_require=True',
    'ETL-2204',
    /"ssl_require".*write sslmode=require/,
  ],
  [
    "Prisma's sslaccept",
    'postgres://u:p@h/d?sslaccept=strict',
    'ETL-2204',
    /"sslaccept".*write sslmode=require/,
  ],
  ["Prisma's schema", 'postgres://u:p@h/d?schema=app', 'ETL-2204', /"schema".*options=-c%20search_path%3D/],
  [
    "JDBC's currentSchema",
    'postgres://u:p@h/d?currentSchema=app',
    'ETL-2204',
    /"currentSchema".*options=-c%20search_path%3D/,
  ],
  [
    "Rails' schema_search_path",
    'postgres://u:p@h/d?schema_search_path=app',
    'ETL-2204',
    /options=-c%20search_path%3D/,
  ],
  ["Rails' encoding", 'postgres://u:p@h/d?encoding=latin1', 'ETL-2204', /client_encoding=UTF8/],
  [
    'a setting of the server',
    'postgres://u:p@h/d?statement_timeout=5000',
    'ETL-2204',
    /options=-c%20statement_timeout%3D<value>/,
  ],
  [
    'an unencoded = in options',
    'postgres://u:p@h/d?options=endpoint=ep-1',
    'ETL-2201',
    /percent-encode the = in the value as %3D/,
  ],
  ['an unencoded @ in a password', 'postgres://u:p@ss@h/d', 'ETL-2201', /%40/],
  [
    'an unencoded @ in a user of Azure',
    'postgres://u@srv:p@srv.postgres.database.azure.com/d',
    'ETL-2201',
    /%40/,
  ],
  ['a raw IAM token', `postgres://u:${IAM_TOKEN}@h/d`, 'ETL-2201', /%2F/],
  ['a URL of JDBC', 'jdbc:postgresql://h:5432/d?user=u', 'ETL-2201', /JDBC.*postgres:\/\//],
  [
    'the form of ADO.NET, which Azure shows',
    'Server=h;Database=d;Port=5432;User Id=u;Password=p;Ssl Mode=Require;',
    'ETL-2201',
    /ADO\.NET.*postgres:\/\//,
  ],
  ['a name of SQLAlchemy', 'host=h username=u', 'ETL-2204', /"username".*write user=/],
];

describe('the connection string of a provider', () => {
  for (const [title, string, { notices: count = 0, port = 5432, ...expected }] of STRINGS) {
    it(title, () => {
      const connection = parseConnection('shop', string, 'DATABASE_URL');
      const notices: string[] = [];
      const settings = {
        applicationName: 'etl',
        variables: {},
        notice: (text: string) => notices.push(text),
      };
      const [server] = resolveServers(connection, settings).servers;
      const { host, login, database } = server.connection;
      const found = {
        host,
        login,
        database,
        ...(connection.password !== undefined && { password: connection.password }),
        ...(expected.mode !== undefined && { mode: server.tls.mode }),
        ...(expected.options !== undefined && { options: server.options }),
        ...(expected.channelBinding !== undefined && {
          channelBinding: server.authentication.channelBinding,
        }),
      };
      expect(found).to.deep.equal(expected);
      expect([server.connection.port, notices.length]).to.deep.equal([port, count]);
      const { password = 'm4de' } = expected;
      expect(formatDsn(connection) + notices.join()).not.to.include(password);
    });
  }

  for (const [title, string, code, message] of REFUSED) {
    it(`is refused: ${title}`, () => {
      const settings = { applicationName: 'etl', variables: {}, notice: () => undefined };
      try {
        resolveServers(parseConnection('shop', string, 'DATABASE_URL'), settings);
      } catch (error) {
        expect(error).to.be.instanceOf(EtlError).with.property('code', code);
        const { what, why, fix } = error as EtlError;
        expect(`${what} ${why} ${fix}`).to.match(message);
        return;
      }
      expect.fail('the string was accepted');
    });
  }
});
