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
    throw new Error('the environment was loaded');
  }

  const all = { '.env.test': 'A=stage', '.env.local': 'A=local', '.env': 'A=base' };
  const rows: {
    title: string;
    files: Record<string, string>;
    variables: Variables;
    value: string;
    setBy: string;
  }[] = [
    {
      title: 'a variable from the real environment before every file',
      files: all,
      variables: { A: 'real', ETL_ENV: 'test' },
      value: 'real',
      setBy: 'environment',
    },
    {
      title: 'a variable that is set to an empty string before every file',
      files: all,
      variables: { A: '' },
      value: '',
      setBy: 'environment',
    },
    {
      title: 'a variable from the file of ETL_ENV before the other files',
      files: all,
      variables: { ETL_ENV: 'test' },
      value: 'stage',
      setBy: '.env.test',
    },
    {
      title: 'a variable from .env.local before .env',
      files: all,
      variables: {},
      value: 'local',
      setBy: '.env.local',
    },
    {
      title: 'a variable from .env if there is no other file',
      files: { '.env': 'A=base' },
      variables: {},
      value: 'base',
      setBy: '.env',
    },
    {
      title: 'a variable from a file if it is undefined in the real environment',
      files: { '.env': 'A=base' },
      variables: { A: undefined },
      value: 'base',
      setBy: '.env',
    },
    {
      title: 'the first variable of a file with a byte order mark',
      files: { '.env': '\uFEFFA=base' },
      variables: {},
      value: 'base',
      setBy: '.env',
    },
    {
      title: 'a value with quotes and a comment as Node does, and expands nothing',
      files: { '.env': '# x\nexport A="$HOME b" # c\n' },
      variables: { HOME: '/h' },
      value: '$HOME b',
      setBy: '.env',
    },
  ];
  for (const { title, files, variables, value, setBy } of rows) {
    it(`takes ${title}`, async () => {
      await write(files);
      const environment = loadEnvironment({ variables, directory });
      expect(environment.variables['A']).to.equal(value);
      expect(environment.sources.get('A')).to.equal(setBy);
    });
  }

  it('merges the variables of several files', async () => {
    await write({ '.env.local': 'B=1', '.env': 'B=2\nC=3' });
    const { variables, sources } = loadEnvironment({ variables: { A: '0' }, directory });
    expect(variables).to.deep.equal({ A: '0', B: '1', C: '3' });
    expect([...sources.values()]).to.deep.equal(['environment', '.env.local', '.env']);
  });

  it('does not use ETL_ENV from a file', async () => {
    await write({ '.env': 'ETL_ENV=test', '.env.test': 'A=stage' });
    expect(loadEnvironment({ variables: {}, directory }).variables).to.deep.equal({ ETL_ENV: 'test' });
  });

  it('loads the real environment if there is no file', () => {
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
      notice: /^\.env sets ETL_CONN_MY_DB, .*run chmod 600 \.env$/,
    },
    { text: 'PGPASSWORD=s3cret', mode: 0o640, notice: /PGPASSWORD/ },
    { text: 'DATABASE_URL=s3cret', mode: 0o604, notice: /DATABASE_URL/ },
    { text: 'DATABASE_URL=s3cret', mode: 0o600, notice: undefined },
    { text: 'LOG_LEVEL=debug', mode: 0o644, notice: undefined },
  ];
  for (const { text, mode, notice } of exposed) {
    const name = text.split('=', 1).join('');
    it(`${notice === undefined ? 'accepts' : 'warns about'} ${name} in a file of mode ${mode.toString(8)}`, async () => {
      await write({ '.env': text }, mode);
      const { notices } = loadEnvironment({ variables: {}, directory });
      expect(notices).to.have.length(notice === undefined ? 0 : 1);
      if (notice !== undefined) expect(notices[0]).to.match(notice);
      expect(notices.join('')).not.to.include('s3cret');
    });
  }
});
