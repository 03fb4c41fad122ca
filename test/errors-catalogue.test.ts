import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseErrorCatalogue } from '../src/commands/program/error-catalogue.js';
import { EtlError, type ErrorCode } from '../src/errors.js';
import { createProject, ROOT } from './support/cli.js';

const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const catalogue = parseErrorCatalogue(page);

describe('docs/errors.md', () => {
  it('describes every error code of the program, and no other code', async () => {
    const surface = JSON.parse(await readFile(join(ROOT, 'test/fixtures/surface.json'), 'utf8'));
    const codes = catalogue.map(({ code }) => code);
    // bin/run.js prints ETL-2021, because the program can't be loaded. The watchdog prints ETL-3304, because the program
    // can't throw any more.
    expect(codes).to.have.members([...surface['error codes'], 'ETL-2021', 'ETL-3304']);
    expect(page.match(/^### /gm)).to.have.lengthOf(codes.length);
  });

  it('lists the codes in order, with four texts each', () => {
    expect(catalogue.map(({ code }) => code)).to.deep.equal(catalogue.map(({ code }) => code).toSorted());
    for (const each of catalogue)
      for (const [name, text] of Object.entries(each))
        expect(text.trim(), `${each.code} ${name}`).to.not.equal('');
  });

  it('names the exit code of each class', () => {
    const rows = [...page.matchAll(/^\| (\d\d) +\| .* \| (\d+) +\|$/gm)];
    const byClass = new Map(rows.map(([, digits = '', exit]) => [digits, Number(exit)]));
    for (const { code } of catalogue) {
      // The two errors of class 33 that the table names in words.
      if (code === 'ETL-3303' || code === 'ETL-3304') continue;
      const { exitCode } = new EtlError(code as ErrorCode, { what: '' });
      expect(exitCode, code).to.equal(byClass.get(code.slice(4, 6)));
    }
  });
});

describe('etl explain', () => {
  it('prints what a code means, why, what to do and an example, also without the prefix and in lower case', async () => {
    await using project = await createProject({});
    const outputs = await Promise.all(
      ['ETL-2202', 'etl-2202', '2202'].map((code) => project.cli(['explain', code])),
    );
    for (const { code, stdout, stderr } of outputs) {
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout).to.match(
        /^ETL-2202 a connection is not defined\n\n.+\n\nWhat to do: .+\n\nExample:\n\n {2}dag\(/,
      );
    }
  });

  it('lists all codes, as text and as JSON', async () => {
    await using project = await createProject({});
    const { code, stdout } = await project.cli(['explain']);
    expect({ code, lines: stdout.trim().split('\n').length }).to.deep.equal({
      code: 0,
      lines: catalogue.length,
    });
    const json = await project.cli(['explain', '--json']);
    expect(JSON.parse(json.stdout)).to.deep.equal(catalogue);
    expect(JSON.parse((await project.cli(['explain', '2202', '--json'])).stdout)).to.include({
      code: 'ETL-2202',
    });
  });

  it('exits 2 for a code that does not exist, and suggests the nearest code', async () => {
    await using project = await createProject({});
    const { code, stderr } = await project.cli(['explain', 'ETL-2209']);
    expect(code).to.equal(2);
    expect(stderr).to.match(/^ETL-2017 there is no error "ETL-2209"; did you mean "ETL-2\d{3}"\?/);
  });
});
