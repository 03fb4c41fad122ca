import { expect } from 'chai';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseErrorCatalogue } from '../../src/commands/program/error-catalogue.js';
import { ROOT } from '../support/cli.js';

describe('every error code', () => {
  it('has a test that provokes each code and keeps its message', async () => {
    const folder = join(ROOT, 'test/fixtures/errors');
    const catalogue = parseErrorCatalogue(await readFile(join(ROOT, 'docs/errors.md'), 'utf8'));
    const kept = new Set<string>();
    for (const name of await readdir(folder))
      for (const [code] of (await readFile(join(folder, name), 'utf8')).matchAll(/^ETL-\d{4}/gm))
        kept.add(code);
    expect(catalogue.map(({ code }) => code).filter((code) => !kept.has(code))).to.deep.equal([]);
  });
});
