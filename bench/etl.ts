import { fileURLToPath } from 'node:url';
import type { Stage } from './benchmark.js';
import { timeOf, type Variant } from './measure.js';

const BIN = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const CONFIG = fileURLToPath(new URL('./project/etl.config.ts', import.meta.url));

/** `etl run <dag>` of the project of the benchmarks, by the released program. */
export function etlRun({ server }: Stage, dagId: string, more: Omit<Variant, 'name' | 'argv'> = {}): Variant {
  return {
    ...more,
    name: 'etl',
    argv: [process.execPath, BIN, 'run', dagId, '--config', CONFIG, '--quiet'],
    env: { DATABASE_URL: server.url, OTHER_URL: server.otherUrl, ...more.env },
  };
}

/** The first run compiles the config, and the next keeps the compiled code of the program: both are left out. */
export async function warmUp(stage: Stage): Promise<void> {
  await stage.server.query('create table item (id int)');
  for (let n = 0; n < 2; n++) await timeOf(etlRun(stage, 'one'));
}

/** Any other command of the program. */
export function etl(
  name: string,
  args: readonly string[],
  more: Omit<Variant, 'name' | 'argv'> = {},
): Variant {
  return { ...more, name, argv: [process.execPath, BIN, ...args] };
}

/** A program of this folder, in a bare Node. */
export function program(stage: Stage, name: string, args: readonly string[] = []): Variant {
  const file = fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url));
  return { name, argv: [process.execPath, file, ...args], env: { DATABASE_URL: stage.server.url } };
}

/** `psql` with these commands in one transaction. */
export function psql(name: string, url: string, commands: readonly string[]): Variant {
  const args = commands.flatMap((each) => ['-c', each]);
  return { name, argv: ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '--single-transaction', ...args, url] };
}
