import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './support/cli.js';

for (const name of ['guarantees', 'unloading']) {
  describe(`docs/${name}.md`, () => {
    it('names a test that is there for each of its claims', async () => {
      const text = await readFile(join(ROOT, `docs/${name}.md`), 'utf8');
      const named = [...text.matchAll(/\(\s*(test\/[\w./-]+): "([^"]+)"\s*\)/g)];
      expect(named.length).to.be.greaterThan(3);
      for (const [, file = '', title = ''] of named) {
        const source = (await readFile(join(ROOT, file), 'utf8')).replace(/\$\{fault\}/g, 'answer lost');
        expect(
          source.includes(title.replaceAll('\n', ' ').replace(/ +/g, ' ')),
          `${file} has a test "${title}"`,
        ).to.equal(true);
      }
    });
  });
}
