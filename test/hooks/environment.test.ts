import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EtlError } from '../../src/errors.js';
import { loadEnvironment } from '../../src/hooks/environment.js';
import type { Variables } from '../../src/hooks/hook.js';

describe('loadEnvironment', () => {
  let directory = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'etl-environment-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  async function write(files: Record<string, string>, mode = 0o600): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(directory, name), text);
      await chmod(join(directory, name), mode);
    }
  }

  function catchError(variables: Variables = {}): EtlError {
    try {
      loadEnvironment({ variables, directory });
    } catch (error) {
      if (error instanceof EtlError) return error;
      throw error;
    }
    throw new Error('It was loaded.');
  }

  const all = { '.env.test': 'A=stage', '.env.local': 'A=local', '.env': 'A=base' };
  const rows: {
    title: string;
    files: Record<string, string>;
    variables: Variables;
    value: string;
    source: string;
  }[] = [
    {
      title: 'the real environment over every file',
      files: all,
      variables: { A: 'real', ETL_ENV: 'test' },
      value: 'real',
      source: 'environment',
    },
    {
      title: 'a variable that is set to an empty string over every file',
      files: all,
      variables: { A: '' },
      value: '',
      source: 'environment',
    },
    {
      title: 'the file of ETL_ENV over the others',
      files: all,
      variables: { ETL_ENV: 'test' },
      value: 'stage',
      source: '.env.test',
    },
    { title: '.env.local over .env', files: all, variables: {}, value: 'local', source: '.env.local' },
    {
      title: '.env when it is alone',
      files: { '.env': 'A=base' },
      variables: {},
      value: 'base',
      source: '.env',
    },
    {
      title: 'a file over a variable that is undefined',
      files: { '.env': 'A=base' },
      variables: { A: undefined },
      value: 'base',
      source: '.env',
    },
    {
      title: 'a first name behind a byte order mark',
      files: { '.env': '\uFEFFA=base' },
      variables: {},
      value: 'base',
      source: '.env',
    },
    {
      title: 'quotes and comments as Node does, expanding nothing',
      files: { '.env': '# x\nexport A="$HOME b" # c\n' },
      variables: { HOME: '/h' },
      value: '$HOME b',
      source: '.env',
    },
  ];
  for (const { title, files, variables, value, source } of rows) {
    it(`takes ${title}`, async () => {
      await write(files);
      const environment = loadEnvironment({ variables, directory });
      expect(environment.variables['A']).to.equal(value);
      expect(environment.sources.get('A')).to.equal(source);
    });
  }

  it('merges variables of several files', async () => {
    await write({ '.env.local': 'B=1', '.env': 'B=2\nC=3' });
    const { variables, sources } = loadEnvironment({ variables: { A: '0' }, directory });
    expect(variables).to.deep.equal({ A: '0', B: '1', C: '3' });
    expect([...sources.values()]).to.deep.equal(['environment', '.env.local', '.env']);
  });

  it('does not take ETL_ENV from a file', async () => {
    await write({ '.env': 'ETL_ENV=test', '.env.test': 'A=stage' });
    expect(loadEnvironment({ variables: {}, directory }).variables).to.deep.equal({ ETL_ENV: 'test' });
  });

  it('needs no file', () => {
    const { variables, notices } = loadEnvironment({ variables: { A: '1', ETL_ENV: 'none' }, directory });
    expect(variables).to.deep.equal({ A: '1', ETL_ENV: 'none' });
    expect(notices).to.deep.equal([]);
  });

  for (const stage of ['', 'a b', '../x', 'a/b', 'a\n']) {
    it(`refuses ETL_ENV=${JSON.stringify(stage)}`, () => {
      const error = catchError({ ETL_ENV: stage });
      expect([error.code, error.exitCode, error.where]).to.deep.equal(['ETL-2010', 2, 'ETL_ENV']);
    });
  }

  const unreadable: { title: string; make: () => Promise<unknown>; why: RegExp }[] = [
    { title: 'a directory', make: () => mkdir(join(directory, '.env')), why: /regular file/ },
    { title: 'a link to itself', make: () => symlink('.env', join(directory, '.env')), why: /ELOOP/ },
    {
      title: 'UTF-16',
      make: () => writeFile(join(directory, '.env'), Buffer.from('\uFEFFA=secret', 'utf16le')),
      why: /UTF-8/,
    },
  ];
  for (const { title, make, why } of unreadable) {
    it(`refuses a .env that is ${title}`, async () => {
      await make();
      const error = catchError();
      expect([error.code, error.exitCode]).to.deep.equal(['ETL-2107', 2]);
      expect(error.message).to.include('.env');
      expect(error.why).to.match(why);
    });
  }

  const exposed: { text: string; mode: number; notice: RegExp | undefined }[] = [
    {
      text: 'ETL_CONN_MY_DB=postgres://u:s3cret@h',
      mode: 0o644,
      notice: /^\.env sets ETL_CONN_MY_DB .*chmod 600 \.env$/,
    },
    { text: 'PGPASSWORD=s3cret', mode: 0o640, notice: /PGPASSWORD/ },
    { text: 'DATABASE_URL=s3cret', mode: 0o604, notice: /DATABASE_URL/ },
    { text: 'DATABASE_URL=s3cret', mode: 0o600, notice: undefined },
    { text: 'LOG_LEVEL=debug', mode: 0o644, notice: undefined },
  ];
  for (const { text, mode, notice } of exposed) {
    const name = text.split('=', 1).join('');
    it(`${notice === undefined ? 'accepts' : 'warns of'} ${name} in a file of mode ${mode.toString(8)}`, async () => {
      await write({ '.env': text }, mode);
      const { notices } = loadEnvironment({ variables: {}, directory });
      expect(notices).to.have.length(notice === undefined ? 0 : 1);
      if (notice !== undefined) expect(notices[0]).to.match(notice);
      expect(notices.join('')).not.to.include('s3cret');
    });
  }
});
