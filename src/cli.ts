import { Config, Plugin } from '@oclif/core/config';
import { run } from '@oclif/core/run';
import { buildErrorJson, createUnknownCommandError } from './command.js';
import { EtlError, EXIT } from './errors.js';
import * as api from './index.js';
import { readManifest, PACKAGE } from './commands/program/manifest.js';
import { formatErrorLines, joinLines } from './runtime/report/words.js';
import { isColoured, paintOf } from './commands/program/terminal.js';

export { COMMANDS } from './commands/index.js';
export { keep } from './runtime/modules/cache.js';

/**
 * Runs one command and ends the process with its exit code, also when a task has left a timer or a socket behind.
 * The commands write synchronously, so nothing is lost.
 */
export async function main(argv: readonly string[]): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  Object.assign(globalThis, { [Symbol.for('@oneshot/etl')]: api });
  const config = await createOclifConfig();
  try {
    await run([...argv], config);
  } catch (error) {
    report(error, argv, config);
  }
  process.exit();
}

/** oclif's own `Config.load` looks for three files that are never there, which takes longer than most of a start. */
async function createOclifConfig(): Promise<Config> {
  const pjson = readManifest();
  const plugin = new Plugin({ isRoot: true, root: PACKAGE, pjson, ignoreManifest: true });
  await plugin.load();
  const config = new Unthemed({ root: PACKAGE, pjson, plugins: new Map([[plugin.name, plugin]]) });
  await config.load();
  return config;
}

/** oclif would look for the user's theme in a file. Colours are a matter of `terminal.ts`. */
class Unthemed extends Config {
  override async loadTheme(): Promise<undefined> {}
}

/** What oclif throws outside of a command: help was shown, or there is no such command. */
function report(error: unknown, argv: readonly string[], config: Config): void {
  const { oclif, message } = error as { oclif?: { exit?: number }; message: string };
  if (oclif?.exit === EXIT.success) return;
  const shown = /^command .+ not found/i.test(message)
    ? createUnknownCommandError(argv, config)
    : new EtlError('ETL-9001', { what: message, cause: error });
  const paint = paintOf(isColoured(undefined, process.env, process.stderr.isTTY));
  process.stderr.write(joinLines(formatErrorLines(shown, paint)));
  if (argv.includes('--json')) process.stdout.write(`${JSON.stringify(buildErrorJson(shown), null, 2)}\n`);
  process.exitCode = shown.exitCode;
}
