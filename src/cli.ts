import { Config, Plugin } from '@oclif/core/config';
import { run } from '@oclif/core/run';
import { buildErrorJson, createUnknownCommandError } from './command.js';
import { EtlError, EXIT } from './errors.js';
import * as api from './index.js';
import { readManifest, PACKAGE } from './commands/program/manifest.js';
import { formatErrorLines, joinLines } from './runtime/report/words.js';
import { isColoured, createPaint } from './commands/program/terminal.js';

export { COMMANDS } from './commands/index.js';
export { keep } from './runtime/modules/cache.js';

/**
 * Runs one command and ends the process with the command's exit code. `argv` is the command line without `node` and the
 * program. A timer or a socket that a task has left open does not keep the process alive. The commands write their
 * output synchronously, so the process loses no output when it ends.
 */
export async function main(argv: readonly string[]): Promise<never> {
  // Without a listener, the error of a closed pipe (EPIPE) would end the process.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  // A config that imports `@oneshot/etl` gets this instance, because `dist/index.js` looks for the symbol.
  Object.assign(globalThis, { [Symbol.for('@oneshot/etl')]: api });
  const config = await createOclifConfig();
  try {
    await run([...argv], config);
  } catch (error) {
    reportError(error, argv, config);
  }
  process.exit();
}

/**
 * Creates the config of oclif from our package file. oclif's own `Config.load` looks for three files that never exist,
 * and this search takes longer than most of the program's start.
 */
async function createOclifConfig(): Promise<Config> {
  const pjson = readManifest();
  const plugin = new Plugin({ isRoot: true, root: PACKAGE, pjson, ignoreManifest: true });
  await plugin.load();
  const config = new UnthemedConfig({ root: PACKAGE, pjson, plugins: new Map([[plugin.name, plugin]]) });
  await config.load();
  return config;
}

/**
 * A config that loads no theme: oclif would look for a theme file of the user, and `terminal.ts` chooses the colours.
 */
class UnthemedConfig extends Config {
  override async loadTheme(): Promise<undefined> {}
}

/**
 * Reports an error that oclif throws outside of a command, and sets the exit code. With `--json`, also prints the error
 * as JSON. An error that does not say "command … not found" is a bug of etl (ETL-9001). After oclif has shown the help,
 * it throws an error with exit code 0, and nothing is reported.
 */
function reportError(error: unknown, argv: readonly string[], config: Config): void {
  const { oclif, message } = error as { oclif?: { exit?: number }; message: string };
  if (oclif?.exit === EXIT.success) return;
  const shown = /^command .+ not found/i.test(message)
    ? createUnknownCommandError(argv, config)
    : new EtlError('ETL-9001', { what: message, cause: error });
  const paint = createPaint(isColoured(undefined, process.env, process.stderr.isTTY));
  process.stderr.write(joinLines(formatErrorLines(shown, paint)));
  if (argv.includes('--json')) process.stdout.write(`${JSON.stringify(buildErrorJson(shown), null, 2)}\n`);
  process.exitCode = shown.exitCode;
}
