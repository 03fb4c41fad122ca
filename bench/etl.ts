import { fileURLToPath } from 'node:url';
import type { Stage } from './benchmark.js';
import { measureUsage, type Variant } from './measure.js';

/** The start script of this build. */
export const BIN = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const CONFIG = fileURLToPath(new URL('./project/etl.config.ts', import.meta.url));

/** Creates a variant that runs `etl run <dag>` in the project of the benchmarks, with the built program. */
export function createEtlRun(
  { server }: Stage,
  dagId: string,
  more: Omit<Variant, 'name' | 'argv'> = {},
  config = CONFIG,
): Variant {
  return {
    ...more,
    name: 'etl',
    argv: [process.execPath, BIN, 'run', dagId, '--config', config, '--quiet'],
    env: { DATABASE_URL: server.url, OTHER_URL: server.otherUrl, ...more.env },
  };
}

/**
 * Runs the program twice before the measurements: the first run compiles the config, and the second fills the code
 * cache.
 */
export async function warmUp(stage: Stage): Promise<void> {
  await stage.server.query('create table item (id int)');
  for (let n = 0; n < 2; n++) await measureUsage(createEtlRun(stage, 'one'));
}

/** Creates a variant that runs another command of the program. */
export function createEtlCommand(
  name: string,
  args: readonly string[],
  more: Omit<Variant, 'name' | 'argv'> = {},
): Variant {
  return { ...more, name, argv: [process.execPath, BIN, ...args] };
}

/** Creates a variant that runs a program of the folder `programs` in Node. */
export function createProgram(stage: Stage, name: string, args: readonly string[] = []): Variant {
  const file = fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url));
  return { name, argv: [process.execPath, file, ...args], env: { DATABASE_URL: stage.server.url } };
}

/** Creates a variant that runs these commands with `psql` in one transaction. */
export function createPsql(name: string, url: string, commands: readonly string[]): Variant {
  const args = commands.flatMap((each) => ['-c', each]);
  return { name, argv: ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '--single-transaction', ...args, url] };
}
