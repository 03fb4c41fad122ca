import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const VARIABLE = 'ETL_TEST_RUN_FOLDER';

/**
 * Creates the folder of this test run. The processes that run test files read the folder's name from their environment.
 */
export async function createRunFolder(): Promise<void> {
  process.env[VARIABLE] = await mkdtemp(join(tmpdir(), 'etl-test-run-'));
}

/** Returns the folder that all test files of this run share. Throws if mocha has not loaded `root-hooks.ts`. */
export function getRunFolder(): string {
  const folder = process.env[VARIABLE];
  if (folder === undefined) throw new Error('mocha needs --require=test/support/root-hooks.ts');
  return folder;
}

/** Removes the folder of this test run. */
export async function removeRunFolder(): Promise<void> {
  await rm(getRunFolder(), { recursive: true, force: true });
}
