// Makes dist/pglite-data-<version>.tar.br, a new database of the installed PGlite, for the npm package: the embedded
// database then starts for the first time in a third of the time and with half of the memory.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { PGlite } from '@electric-sql/pglite';

const entry = createRequire(import.meta.url).resolve('@electric-sql/pglite');
const { version } = JSON.parse(readFileSync(join(dirname(entry), '../package.json'), 'utf8'));
const target = join(import.meta.dirname, `../dist/pglite-data-${version}.tar.br`);

const pglite = await PGlite.create('memory://');
await pglite.exec('checkpoint');
const tar = Buffer.from(await (await pglite.dumpDataDir('none')).arrayBuffer());
await pglite.close();

writeFileSync(target, pack(tar));

/** Its three databases are the same but for little: a window that spans two of them makes 1.5 MB of 4.5. */
function pack(bytes) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = constants;
  return brotliCompressSync(bytes, {
    params: { [BROTLI_PARAM_QUALITY]: 9, [BROTLI_PARAM_LGWIN]: 24, [BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
}
