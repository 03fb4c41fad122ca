import { expect } from 'chai';
import { EtlError } from '../../src/errors.js';
import type { Environment } from '../../src/hooks/environment.js';
import { createLookup, type ConnectionSetting, type Lookup } from '../../src/hooks/lookup.js';

interface Given {
  flags?: Record<string, string>;
  variables?: Record<string, string>;
  /** The files that set variables, by name of the variable. */
  files?: Record<string, string>;
  config?: Record<string, ConnectionSetting>;
}

function lookup({ flags = {}, variables = {}, files = {}, config = {} }: Given): Lookup {
  const sources = new Map(Object.keys(variables).map((name) => [name, files[name] ?? 'environment']));
  const environment: Environment = { variables, sources, notices: [] };
  return createLookup({ flags, environment, config, configName: 'etl.config.ts' });
}

function catchError(act: () => unknown): EtlError {
  try {
    act();
  } catch (error) {
    if (error instanceof EtlError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const at = (host: string): string => `postgres://${host}`;

describe('Lookup.find', () => {
  const everywhere: Required<Omit<Given, 'files'>> = {
    flags: { my_db: at('flag') },
    variables: { ETL_CONN_MY_DB: at('etl'), AIRFLOW_CONN_MY_DB: at('airflow') },
    config: { my_db: at('config') },
  };
  const rows: { title: string; given: Given; id?: string; host: string | undefined; definedBy: string }[] = [
    {
      title: 'a connection from --conn before all others',
      given: everywhere,
      host: 'flag',
      definedBy: '--conn',
    },
    {
      title: 'a connection from ETL_CONN_ before AIRFLOW_CONN_',
      given: { ...everywhere, flags: {} },
      host: 'etl',
      definedBy: 'ETL_CONN_MY_DB',
    },
    {
      title: 'a connection from AIRFLOW_CONN_ before the config',
      given: { variables: { AIRFLOW_CONN_MY_DB: at('airflow') }, config: everywhere.config },
      host: 'airflow',
      definedBy: 'AIRFLOW_CONN_MY_DB',
    },
    {
      title: 'a connection from the config last',
      given: { config: everywhere.config },
      host: 'config',
      definedBy: 'connections.my_db in etl.config.ts',
    },
    {
      title: 'the url of a config setting',
      given: { config: { my_db: { url: at('config'), concurrency: 2 } } },
      host: 'config',
      definedBy: 'connections.my_db in etl.config.ts',
    },
    {
      title: 'a variable if the config setting has no value',
      given: { variables: { ETL_CONN_MY_DB: at('etl') }, config: { my_db: undefined } },
      host: 'etl',
      definedBy: 'ETL_CONN_MY_DB',
    },
    {
      title: 'a variable that a file sets, and names the file',
      given: { variables: { ETL_CONN_MY_DB: at('etl') }, files: { ETL_CONN_MY_DB: '.env.local' } },
      host: 'etl',
      definedBy: 'ETL_CONN_MY_DB in .env.local',
    },
    {
      title: 'an ETL_CONN_ variable with _ for characters that a shell does not allow',
      id: 'my-db.x',
      given: { variables: { ETL_CONN_MY_DB_X: at('etl') } },
      host: 'etl',
      definedBy: 'ETL_CONN_MY_DB_X',
    },
    {
      title: 'a variable with the exact ID before the variable with _',
      id: 'my-db',
      given: { variables: { 'ETL_CONN_MY-DB': at('exact'), ETL_CONN_MY_DB: at('replaced') } },
      host: 'exact',
      definedBy: 'ETL_CONN_MY-DB',
    },
    {
      title: 'DATABASE_URL for the ID default',
      id: 'default',
      given: { variables: { DATABASE_URL: at('url'), PGHOST: 'pg' } },
      host: 'url',
      definedBy: 'DATABASE_URL',
    },
    {
      title: 'a connection from the config before DATABASE_URL',
      id: 'default',
      given: { variables: { DATABASE_URL: at('url') }, config: { default: at('config') } },
      host: 'config',
      definedBy: 'connections.default in etl.config.ts',
    },
    {
      title: 'PG* variables for the ID default, and leaves the host to the hook',
      id: 'default',
      given: { variables: { PGUSER: 'u', PGHOST: 'pg' }, files: { PGUSER: '.env' } },
      host: undefined,
      definedBy: 'PGHOST, PGUSER in .env',
    },
  ];
  for (const { title, given, id = 'my_db', host, definedBy } of rows) {
    it(`takes ${title}`, () => {
      const connection = lookup(given).find(id);
      expect(connection).to.include({ id, scheme: 'postgres', definedBy });
      expect(connection.host).to.equal(host);
    });
  }

  const spellings: { given: Given; asked: string; id: string }[] = [
    { given: { config: { My_Db: at('h') } }, asked: 'my_db', id: 'My_Db' },
    { given: { flags: { My_Db: at('h') } }, asked: 'MY_DB', id: 'My_Db' },
    { given: { flags: { my_db: at('h') }, config: { My_Db: at('i') } }, asked: 'MY_DB', id: 'My_Db' },
    { given: { variables: { ETL_CONN_MY_DB: at('h') } }, asked: 'My_Db', id: 'my_db' },
  ];
  for (const { given, asked, id } of spellings) {
    it(`spells the ID ${asked} as ${id} if ${JSON.stringify(given)} defines it`, () => {
      expect(lookup(given).find(asked)).to.include({ id, host: 'h' });
    });
  }

  const malformed: { title: string; given: Given; id?: string; where: string }[] = [
    { title: 'a --conn flag', given: { ...everywhere, flags: { my_db: 'x' } }, where: '--conn, column 1' },
    {
      title: 'an ETL_CONN_ variable',
      given: { variables: { ETL_CONN_MY_DB: 'x', AIRFLOW_CONN_MY_DB: at('a') } },
      where: 'ETL_CONN_MY_DB, column 1',
    },
    {
      title: 'an empty variable',
      given: {
        variables: { ETL_CONN_MY_DB: '' },
        files: { ETL_CONN_MY_DB: '.env' },
        config: everywhere.config,
      },
      where: 'ETL_CONN_MY_DB in .env',
    },
    {
      title: 'an AIRFLOW_CONN_ variable',
      given: { variables: { AIRFLOW_CONN_MY_DB: '{' }, config: everywhere.config },
      where: 'AIRFLOW_CONN_MY_DB',
    },
    {
      title: 'a config setting',
      id: 'default',
      given: { variables: { DATABASE_URL: at('url') }, config: { default: '' } },
      where: 'connections.default in etl.config.ts',
    },
    {
      title: 'DATABASE_URL',
      id: 'default',
      given: { variables: { DATABASE_URL: '', PGHOST: 'h' } },
      where: 'DATABASE_URL',
    },
  ];
  for (const { title, given, id = 'my_db', where } of malformed) {
    it(`refuses ${title} that is malformed, and does not search further`, () => {
      const error = catchError(() => lookup(given).find(id));
      expect([error.code, error.where]).to.deep.equal(['ETL-2201', where]);
    });
  }

  it('lists what it searched, in order, and suggests a similar ID', () => {
    const error = catchError(() => lookup({ variables: { ETL_CONN_MY_DB: at('h') } }).find('my_bd'));
    expect([error.code, error.exitCode]).to.deep.equal(['ETL-2202', 2]);
    expect(error.message).to.equal('connection "my_bd" is not defined; did you mean "my_db"?');
    expect(error.why).to.equal(
      'searched in this order: --conn my_bd=…, ETL_CONN_MY_BD, AIRFLOW_CONN_MY_BD, connections.my_bd in etl.config.ts',
    );
    expect(error.fix).to.include('set ETL_CONN_MY_BD to postgres://');
  });

  it('suggests a variable that a shell can set if the ID has other characters', () => {
    const error = catchError(() => lookup({}).find('my-db'));
    expect(error.why).to.include(
      '--conn my-db=…, ETL_CONN_MY-DB, ETL_CONN_MY_DB, AIRFLOW_CONN_MY-DB, connections["my-db"] in etl.config.ts',
    );
    expect(error.fix).to.include('set ETL_CONN_MY_DB to');
  });

  it('searches DATABASE_URL and the PG* variables, too, for the ID default', () => {
    const { why } = catchError(() => lookup({}).find('default'));
    expect(why).to.include(
      'etl.config.ts, DATABASE_URL, PGHOST or PGHOSTADDR or PGPORT or PGDATABASE or PGUSER',
    );
  });

  it('says that a connection is declared without a value', () => {
    const error = catchError(() => lookup({ config: { my_db: undefined } }).find('my_db'));
    expect(error.code).to.equal('ETL-2202');
    expect(error.message).to.equal('connection "my_db" has no value');
    expect(error.why).to.include('declares the connection without a value');
  });

  it('finds no connection with the ID constructor', () => {
    expect(catchError(() => lookup({}).find('constructor')).code).to.equal('ETL-2202');
  });

  for (const id of ['', 'a b', 'postgres://u:s3cret@h', 'größe', 'a'.repeat(251)]) {
    it(`refuses the ID ${JSON.stringify(id.slice(0, 30))} without showing it`, () => {
      const errors = [
        catchError(() => lookup({}).find(id)),
        catchError(() => lookup({ flags: { [id]: at('h') } })),
        catchError(() => lookup({ config: { [id]: at('h') } })),
      ];
      for (const { code, message, where, why, fix } of errors) {
        expect(code).to.equal('ETL-2210');
        if (id !== '') expect([message, where, why, fix].join('\n')).not.to.include(id);
      }
    });
  }
});

describe('createLookup', () => {
  const rows: { given: Given; named: string[] | undefined }[] = [
    { given: { config: { my_db: at('a'), My_DB: at('b') } }, named: ['my_db', 'My_DB'] },
    { given: { config: { a: undefined, A: undefined } }, named: ['a', 'A'] },
    { given: { flags: { a: at('a'), A: at('b') } }, named: ['a', 'A'] },
    {
      given: { config: { 'a-b': at('a'), 'a.b': at('b') }, variables: { ETL_CONN_A_B: at('c') } },
      named: ['a-b', 'a.b'],
    },
    { given: { config: { 'a-b': at('a'), 'a.b': at('b') } }, named: undefined },
    { given: { flags: { A: at('a') }, config: { a: at('b') } }, named: undefined },
  ];
  for (const { given, named } of rows) {
    it(`${named === undefined ? 'accepts' : 'refuses two IDs that differ too little in'} ${JSON.stringify(given)}`, () => {
      if (named === undefined) {
        expect(lookup(given).ids('a')).to.have.length.greaterThan(0);
        return;
      }
      const error = catchError(() => lookup(given));
      expect([error.code, error.exitCode]).to.deep.equal(['ETL-2203', 2]);
      for (const id of named) expect(error.message).to.include(`"${id}"`);
    });
  }
});

describe('Lookup.ids', () => {
  const given: Given = {
    flags: { My_Prefix_F: at('f') },
    variables: {
      ETL_CONN_MY_PREFIX_E: at('e'),
      AIRFLOW_CONN_MY_PREFIX_A: at('a'),
      AIRFLOW_CONN_MY_PREFIX_E: at('e'),
      ETL_CONN_MY_PREFIX_C: at('c'),
      ETL_CONN_MY_PREFIX_D_1: at('d'),
      ETL_CONN_MYXPREFIXY1: at('x'),
      ETL_CONN_: at('nothing'),
      PGHOST: 'h',
      HOME: '/h',
    },
    config: { My_Prefix_C: undefined, 'my_prefix_D-1': at('d'), my_prefix_unset: undefined, Zebra: at('z') },
  };
  const all = [
    'default',
    'My_Prefix_C',
    'my_prefix_D-1',
    'my_prefix_a',
    'my_prefix_e',
    'My_Prefix_F',
    'Zebra',
  ];
  const prefixed = ['my_prefix_a', 'My_Prefix_C', 'my_prefix_D-1', 'my_prefix_e', 'My_Prefix_F'];

  const rows: { prefix: string; ids: string[] }[] = [
    { prefix: 'my_prefix_', ids: prefixed },
    { prefix: 'MY_PREFIX_', ids: prefixed },
    { prefix: 'my_prefix_%', ids: [] },
    { prefix: 'myX', ids: ['myxprefixy1'] },
    { prefix: 'none', ids: [] },
    {
      prefix: '',
      ids: [...all, 'myxprefixy1'].toSorted((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)),
    },
  ];
  for (const { prefix, ids } of rows) {
    it(`lists ${ids.length} IDs for the prefix ${JSON.stringify(prefix)}`, () => {
      expect(lookup(given).ids(prefix)).to.deep.equal(ids);
    });
  }

  it('sorts the IDs by code units, not by the rules of a language', () => {
    const config = { b: at('h'), a_: at('h'), 'a-': at('h'), aa: at('h'), A0: at('h') };
    expect(lookup({ config }).ids()).to.deep.equal(['a-', 'A0', 'a_', 'aa', 'b']);
  });

  it('lists only IDs that find accepts', () => {
    const connections = lookup(given);
    expect(connections.ids().map((id) => connections.find(id).id)).to.deep.equal(connections.ids());
  });

  it('refuses a malformed definition only if its ID has the prefix', () => {
    const connections = lookup({ variables: { ETL_CONN_A: 'x:s3cret', ETL_CONN_B: at('b') } });
    const error = catchError(() => connections.ids('a'));
    expect([error.code, error.where]).to.deep.equal(['ETL-2201', 'ETL_CONN_A, column 1']);
    expect(connections.ids('b')).to.deep.equal(['b']);
  });
});

describe('Lookup.list', () => {
  it('shows what defines each connection and where it points, or the error of a connection that is malformed', () => {
    const connections = lookup({
      flags: { f: 'mysql://u:s3cret@h/db' },
      variables: { ETL_CONN_BAD: 'postgres//u:s3cret@h', DATABASE_URL: 'postgres://u:s3cret@h/db' },
      files: { DATABASE_URL: '.env' },
      config: { unset: undefined, local: 'pglite:.etl/pgdata' },
    });
    const entries = connections.list();
    expect(entries).to.deep.equal([
      {
        id: 'bad',
        source: 'ETL_CONN_BAD',
        error: 'ETL_CONN_BAD, column 1: the value does not start with scheme://',
      },
      { id: 'default', source: 'DATABASE_URL in .env', scheme: 'postgres', place: 'postgres://u:***@h/db' },
      { id: 'f', source: '--conn', scheme: 'mysql', place: 'mysql://u:***@h/db' },
      {
        id: 'local',
        source: 'connections.local in etl.config.ts',
        scheme: 'pglite',
        place: 'pglite:.etl/pgdata',
      },
      { id: 'unset', source: 'connections.unset in etl.config.ts', error: 'declared without a value' },
    ]);
    expect(connections.list('L')).to.deep.equal([entries[3]]);
    expect(JSON.stringify(entries)).not.to.include('s3cret');
  });
});
