import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { SEARCHED_FILES } from '../../../src/runtime/config/find.js';
import { api, project, type Files, type Project } from './config-project.js';

const OTHER_USER = 4321;
const seen = globalThis as { etlSeen?: unknown[] };
const require = createRequire(import.meta.url);

/** Loads a config, and returns the values that the config has pushed to `globalThis.etlSeen`. */
async function loadAndGetSeen(fixture: Project): Promise<unknown[]> {
  seen.etlSeen = [];
  await fixture.load();
  return seen.etlSeen;
}

/** Creates the text of a config with the file name `name`. Its concurrency tells it from other configs. */
function createConfigText(name: string, concurrency: number): string {
  if (name === 'package.json') return `{ "etl": { "concurrency": ${concurrency} } }`;
  if (name.endsWith('.cjs')) return `module.exports = { concurrency: ${concurrency} };`;
  if (/\.m?[jt]s$/.test(name)) return `export default { concurrency: ${concurrency} };`;
  return name.endsWith('json') ? `{ "concurrency": ${concurrency} }` : `concurrency: ${concurrency}`;
}

/** Creates the text of a file that pushes the instance of the public module that it gets to `globalThis.etlSeen`. */
function createInstanceProbe(name: string): string {
  return name.endsWith('.cjs')
    ? "const { instance } = require('@oneshot/etl'); globalThis.etlSeen.push(instance); module.exports = {};"
    : "import { instance } from '@oneshot/etl'; globalThis.etlSeen.push(instance); export default {};";
}

describe('finding the config', () => {
  for (const [index, name] of SEARCHED_FILES.entries()) {
    it(`prefers ${name} to all later files of the search`, async () => {
      const files = SEARCHED_FILES.slice(index).map((each, rank) => [each, createConfigText(each, rank + 1)]);
      using fixture = project(Object.fromEntries(files) as Files);
      const { file, config } = await fixture.load();
      expect([file, config.concurrency]).to.deep.equal([fixture.path(name), 1]);
    });
  }

  it('goes up to the nearest package root', async () => {
    using fixture = project({ 'etl.config.ts': createConfigText('.ts', 3), 'a/b/c.txt': '' });
    const loaded = await fixture.load({ directory: fixture.path('a/b') });
    expect(loaded).to.include({
      file: fixture.path('etl.config.ts'),
      directory: fixture.directory,
      name: '../../etl.config.ts',
    });
  });

  it('does not go beyond the nearest package root', async () => {
    using fixture = project({
      'etl.config.ts': createConfigText('.ts', 3),
      'a/package.json': '{ "name": "a" }',
    });
    const error = await fixture.catchError({ directory: fixture.path('a') });
    expect(error).to.include({ code: 'ETL-2101', exitCode: 2, where: fixture.path('a') });
    expect(error.why).to.include('etl.config.{ts,mts,js,mjs,cjs,json}');
    expect(error.fix).to.include('--config');
  });

  it('takes the explicit file and no other', async () => {
    using fixture = project({
      'etl.config.ts': createConfigText('.ts', 3),
      'conf/nightly.mts': createConfigText('.mts', 4),
    });
    const { name, config } = await fixture.load({ explicit: 'conf/nightly.mts' });
    expect([name, config.concurrency]).to.deep.equal(['conf/nightly.mts', 4]);
  });

  it('does not execute a meta config of cosmiconfig', async () => {
    using fixture = project({
      'package.json': '{ "cosmiconfig": { "searchPlaces": ["evil.json"], "mergeSearchPlaces": false } }',
      '.config/config.cjs': 'globalThis.etlSeen = ["executed"];',
      'evil.json': createConfigText('.json', 1),
      'etl.config.json': createConfigText('.json', 2),
    });
    const before = process.cwd();
    seen.etlSeen = [];
    process.chdir(fixture.directory);
    try {
      expect((await fixture.load()).name).to.equal('etl.config.json');
    } finally {
      process.chdir(before);
    }
    expect(seen.etlSeen).to.deep.equal([]);
  });
});

describe('reading a config', () => {
  const executed = "globalThis.etlSeen.push('executed'); export default {};";
  const rows: { title: string; says: string; prepare: (file: string) => void }[] = [
    { title: 'a directory', says: 'the path is a directory', prepare: (file) => mkdirSync(file) },
    {
      title: 'a loop of links',
      says: 'the path is a loop of symbolic links',
      prepare: (file) => symlinkSync(file, file),
    },
    {
      title: 'a link to nothing',
      says: 'the path is a symbolic link to nothing',
      prepare: (file) => symlinkSync('/nothing/here', file),
    },
    {
      title: 'a named pipe',
      says: 'the path is not a regular file',
      prepare: (file) => execFileSync('mkfifo', [file]),
    },
    {
      title: 'a file of more than 5 MB',
      says: 'at most 5 MB are allowed',
      prepare: (file) => writeFileSync(file, ' '.repeat(5 * 1024 * 1024 + 1)),
    },
    {
      title: 'UTF-16, little endian',
      says: 'the file begins with the byte order mark of UTF-16',
      prepare: (file) => writeFileSync(file, Buffer.from(`\uFEFF${executed}`, 'utf16le')),
    },
    {
      title: 'Latin-1',
      says: 'the byte 0xfc at offset 1 is not UTF-8',
      prepare: (file) => writeFileSync(file, `"ü"; ${executed}`, 'latin1'),
    },
    {
      title: 'UTF-16, big endian',
      says: 'the file begins with the byte order mark of UTF-16',
      prepare: (file) => writeFileSync(file, Buffer.from(`\uFEFF${executed}`, 'utf16le').swap16()),
    },
    {
      title: 'a world-writable file',
      says: 'every user of this machine can write to the file',
      prepare: (file) => {
        writeFileSync(file, executed);
        chmodSync(file, 0o646);
      },
    },
  ];
  for (const { title, says, prepare } of rows) {
    it(`refuses ${title} and does not search on`, async () => {
      using fixture = project({ 'etl.config.mjs': executed });
      prepare(fixture.path('etl.config.ts'));
      seen.etlSeen = [];
      const error = await fixture.catchError();
      expect(error).to.include({ code: 'ETL-2102', exitCode: 2 });
      expect(error.where).to.match(/^etl\.config\.ts(?::1)?$/);
      expect(error.why).to.include(says);
      expect(seen.etlSeen).to.deep.equal([]);
    });
  }

  it('reads the file of another user if nobody else can write to it, as in an image that another user has built', async () => {
    using fixture = project({ 'etl.config.ts': createConfigText('.ts', 2) });
    // Only root can change the owner of a file. Any other user can pretend to be another user than the owner.
    if (process.getuid?.() === 0) chownSync(fixture.path('etl.config.ts'), OTHER_USER, OTHER_USER);
    expect((await fixture.load({ getuid: () => OTHER_USER + 1 })).config.concurrency).to.equal(2);
    chmodSync(fixture.path('etl.config.ts'), 0o664);
    const error = await fixture.catchError({ getuid: () => OTHER_USER + 1 });
    expect(error).to.include({ code: 'ETL-2102', exitCode: 2, where: 'etl.config.ts' });
    expect(error.fix).to.include('chmod go-w');
  });

  it('checks neither owner nor mode on a system without users', async () => {
    using fixture = project({ 'etl.config.ts': createConfigText('.ts', 2) });
    chmodSync(fixture.path('etl.config.ts'), 0o666);
    expect((await fixture.load({ getuid: undefined })).config.concurrency).to.equal(2);
  });

  for (const name of ['etl.config.ts', 'etl.config.json', '.etlrc.yaml', 'package.json']) {
    it(`reads ${name} with a byte order mark`, async () => {
      using fixture = project({ [name]: `\uFEFF${createConfigText(name, 5)}` });
      expect((await fixture.load()).config.concurrency).to.equal(5);
    });
  }
});

describe('loading a config', () => {
  it('returns the content of the config', async () => {
    using fixture = project({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({
          dags: [dag('a', {}, (d) => d.sql('t', { sql: 'select 1' }))], concurrency: 4, timeout: '2m', defaults: { retries: 2 },
          connections: { a: 'pglite::memory:', b: { url: 'postgres://h/d', concurrency: 2 }, c: undefined },
        });`,
    });
    const { config } = await fixture.load();
    expect(config.dags.map(({ id }) => id)).to.deep.equal(['a']);
    expect(Object.getPrototypeOf(config.connections)).to.equal(null);
    expect({ ...config, connections: { ...config.connections }, dags: [] }).to.deep.equal({
      dags: [],
      connections: { a: 'pglite::memory:', b: { url: 'postgres://h/d', concurrency: 2 }, c: undefined },
      defaults: { retries: 2 },
      concurrency: 4,
      ledgerSchema: undefined,
      showData: undefined,
      ping: undefined,
      callbacks: { onSuccess: undefined, onFailure: undefined },
      callbackTimeoutMs: undefined,
      timeoutMs: 120_000,
    });
  });

  it('supports enums, .js names of .ts files, top-level await and type imports', async () => {
    using fixture = project({
      'etl.config.ts': `import type { Missing } from './missing.js';
        import { size } from './size.js';
        enum Limit { Two = 2 }
        const one: Missing | number = await Promise.resolve(1);
        export default { concurrency: Limit.Two + size + Number(one) };`,
      'size.ts': 'export const size: number = 40;',
    });
    expect((await fixture.load()).config.concurrency).to.equal(43);
  });

  for (const name of [
    'etl.config.ts',
    'etl.config.mts',
    'etl.config.js',
    'etl.config.mjs',
    'etl.config.cjs',
  ]) {
    for (const type of ['module', 'commonjs']) {
      const isScript = name.endsWith('.cjs') || (name.endsWith('.js') && type === 'commonjs');
      const files = (text: string): Files => ({
        'package.json': `{ "type": "${type}" }`,
        [name]: `globalThis.etlSeen.push(1); ${text}`,
      });

      it(`executes ${name} once, in a package of type ${type}`, async () => {
        using fixture = project(files(isScript ? 'module.exports = {};' : 'export default {};'));
        expect(await loadAndGetSeen(fixture)).to.deep.equal([1]);
      });

      it(`executes ${name} once when it throws, in a package of type ${type}`, async () => {
        using fixture = project(files("throw new Error('x');"));
        seen.etlSeen = [];
        await fixture.catchError();
        expect(seen.etlSeen).to.deep.equal([1]);
      });
    }
  }
});

describe('the cache of compiled code', () => {
  const cache = '.etl/cache/config';
  const files = { 'etl.config.ts': createConfigText('.ts', 2) };

  it('is a directory that only this user can enter', async () => {
    using fixture = project(files);
    await fixture.load();
    for (const path of ['.etl', '.etl/cache', cache]) {
      expect(statSync(fixture.path(path)).mode & 0o777, path).to.equal(0o700);
    }
    expect(readdirSync(fixture.path(cache))).to.have.length(1);
  });

  const rows: { title: string; prepare: (path: string) => void }[] = [
    { title: 'others can write to it', prepare: (path) => chmodSync(path, 0o777) },
    { title: 'others can write to a directory above it', prepare: (path) => chmodSync(dirname(path), 0o777) },
  ];
  for (const { title, prepare } of rows) {
    it(`is not used if ${title}`, async () => {
      using fixture = project(files);
      mkdirSync(fixture.path(cache), { recursive: true, mode: 0o700 });
      prepare(fixture.path(cache));
      expect((await fixture.load()).config.concurrency).to.equal(2);
      expect(readdirSync(fixture.path(cache))).to.deep.equal([]);
    });
  }

  // Only root can change the owner of a directory.
  if (process.getuid?.() === 0)
    it('is not used if it belongs to another user', async () => {
      using fixture = project(files);
      mkdirSync(fixture.path(cache), { recursive: true, mode: 0o700 });
      chownSync(fixture.path(cache), OTHER_USER, OTHER_USER);
      expect((await fixture.load()).config.concurrency).to.equal(2);
      expect(readdirSync(fixture.path(cache))).to.deep.equal([]);
    });

  it('is not used if it is a link to another directory', async () => {
    using fixture = project({ ...files, 'elsewhere/a.txt': '' });
    mkdirSync(fixture.path('.etl'), { mode: 0o700 });
    symlinkSync(fixture.path('elsewhere'), fixture.path('.etl/cache'));
    expect((await fixture.load()).config.concurrency).to.equal(2);
    expect(readdirSync(fixture.path('elsewhere'))).to.deep.equal(['a.txt']);
  });

  const damages: { title: string; damage: (file: string, content: Buffer) => void }[] = [
    { title: 'is empty', damage: (file) => writeFileSync(file, '') },
    { title: 'is full of zeros', damage: (file, content) => writeFileSync(file, content.fill(0)) },
    { title: 'is cut', damage: (file, content) => writeFileSync(file, content.subarray(0, -10)) },
    {
      title: 'has another digit in its code',
      damage: (file, content) =>
        writeFileSync(file, content.toString().replace(/concurrency: 2/, 'concurrency: 3')),
    },
    { title: 'has more bytes', damage: (file, content) => writeFileSync(file, `${content.toString()};`) },
    {
      title: 'belongs to another config',
      damage: (file) => {
        const others = readdirSync(dirname(file)).map((name) => join(dirname(file), name));
        writeFileSync(file, readFileSync(others.find((other) => other !== file) ?? ''));
      },
    },
    { title: 'can be written by others', damage: (file) => chmodSync(file, 0o666) },
    {
      title: 'is a link',
      damage: (file) => {
        renameSync(file, `${file}.txt`);
        symlinkSync(`${file}.txt`, file);
      },
    },
  ];
  for (const { title, damage } of damages) {
    it(`is written again for a file that ${title}`, async () => {
      using fixture = project(files);
      await fixture.load();
      const [name = ''] = readdirSync(fixture.path(cache));
      const whole = readFileSync(join(fixture.path(cache), name));
      // Another config, whose code is cached beside the code of the first.
      writeFileSync(fixture.path('etl.config.ts'), createConfigText('.ts', 7));
      await fixture.load();
      writeFileSync(fixture.path('etl.config.ts'), createConfigText('.ts', 2));
      damage(join(fixture.path(cache), name), Buffer.from(whole));
      expect((await fixture.load()).config.concurrency).to.equal(2);
      expect(readFileSync(join(fixture.path(cache), name))).to.deep.equal(whole);
      expect(lstatSync(join(fixture.path(cache), name))).to.include({ mode: 0o100600 });
    });
  }

  it("is left out if its directory can't be created", async () => {
    using fixture = project({ ...files, '.etl': 'a file' });
    expect((await fixture.load()).config.concurrency).to.equal(2);
  });
});

describe('the modules that a config shares with the program', () => {
  const another: Files = {
    'node_modules/@oneshot/etl/package.json': '{ "type": "module", "exports": "./index.js" }',
    'node_modules/@oneshot/etl/index.js': "export const instance = 'another copy';",
  };
  const names = ['ts', 'mts', 'js', 'mjs', 'cjs'];

  for (const [installed, beside] of [
    ['nothing', {}],
    ['another copy', another],
  ] as const) {
    for (const extension of names) {
      it(`are one instance in etl.config.${extension} with ${installed} installed beside it`, async () => {
        const name = `etl.config.${extension}`;
        using fixture = project({
          'package.json': '{ "type": "module" }',
          ...beside,
          [name]: createInstanceProbe(name),
        });
        const { instance } = (await import(api.entry.href)) as { instance: symbol };
        expect(await loadAndGetSeen(fixture)).to.deep.equal([instance]);
      });
    }

    for (const extension of names.filter((each) => each !== 'cjs')) {
      it(`are one instance in an imported .${extension} file with ${installed} installed beside it`, async () => {
        const name = `tasks.${extension}`;
        using fixture = project({
          'package.json': '{ "type": "module" }',
          ...beside,
          'etl.config.ts': `import './${name}'; export default {};`,
          [name]: createInstanceProbe(name),
        });
        const { instance } = (await import(api.entry.href)) as { instance: symbol };
        expect(await loadAndGetSeen(fixture)).to.deep.equal([instance]);
      });
    }
  }

  const packages =
    "import knex from 'knex'; import { Model } from 'objection'; import pg from 'pg'; globalThis.etlSeen.push(knex, Model, pg.Client); export default {};";

  it("include the program's knex, objection and pg if none is installed", async () => {
    using fixture = project({ 'etl.config.ts': packages });
    const ours = [
      require('knex'),
      (require('objection') as { Model: unknown }).Model,
      (require('pg') as { Client: unknown }).Client,
    ];
    const theirs = await loadAndGetSeen(fixture);
    expect(theirs.map((each, index) => each === ours[index])).to.deep.equal([true, true, true]);
  });

  it("do not include the program's knex if the project has its own", async () => {
    using fixture = project({
      'etl.config.ts': packages,
      'node_modules/knex/package.json': '{}',
      'node_modules/knex/index.js': "module.exports = 'its own knex';",
    });
    expect((await loadAndGetSeen(fixture))[0]).to.equal('its own knex');
  });
});
