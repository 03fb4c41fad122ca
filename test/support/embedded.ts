import { PGlite } from '@electric-sql/pglite';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { getRunFolder } from './run-folder.js';

/**
 * Creates an empty embedded database in `directory`, which must not exist. The first call of a test run creates a
 * database, which takes seconds of processor time. The other calls copy that database, which takes a tenth of the time.
 */
export async function copyEmbeddedDatabase(directory: string): Promise<void> {
  const template = join(getRunFolder(), 'embedded');
  await mkdir(dirname(directory), { recursive: true });
  try {
    await cp(template, directory, { recursive: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await createTemplate(template);
    await cp(template, directory, { recursive: true });
  }
}

/** Another process may create the template at the same time. The first process that is ready wins. */
async function createTemplate(template: string): Promise<void> {
  const made = await mkdtemp(`${template}-`);
  const database = await PGlite.create(join(made, 'data'));
  await database.close();
  await rename(join(made, 'data'), template).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  });
  await rm(made, { recursive: true });
}
