import { Config, Plugin } from '@oclif/core/config';
import { run } from '@oclif/core/run';
import { buildErrorJson, createUnknownCommandError } from './command.js';
import { setCacheDirectory } from './commands/program/cache-directory.js';
import { createUnhandledError, endOnStopSignals } from './commands/run/guard.js';
import { EtlError, EXIT } from './errors.js';
import * as api from './index.js';
import { readManifest, PACKAGE } from './commands/program/manifest.js';
import { formatErrorLines, joinLines } from './runtime/report/words.js';
import { learnFromArguments, learnFromVariables } from './runtime/secrets/learned-secrets.js';
import { formatJson } from './runtime/report/safe-text.js';
import { createOutput, createPaint, isColoured } from './commands/program/terminal.js';
import { drainOutput } from './commands/program/pipe-writer.js';
import { endProcess, setExitCode, takeOverExit } from './commands/program/process-end.js';

export { COMMANDS } from './commands/index.js';
export { keep } from './runtime/modules/cache.js';

/**
 * Runs one command and ends the process with the command's exit code. `argv` is the command line without `node` and the
 * program. `cacheDirectory` is where bin/run.js keeps the compiled code; undefined if it keeps none. A timer or a socket that a task has left open does not keep the process alive. The process ends when the readers
 * of its output have taken all of it, or take nothing for 10 minutes.
 */
export async function main(argv: readonly string[], cacheDirectory?: string): Promise<never> {
  setCacheDirectory(cacheDirectory);
  takeOverExit();
  endOnStopSignals();
  // Without a listener, the error of a closed pipe (EPIPE) would end the process.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  learnFromArguments(argv);
  learnFromVariables(process.env);
  replaceReportsOfNode();
  // A config that imports `@oneshot/etl` gets this instance, because `dist/index.js` looks for the symbol.
  Object.assign(globalThis, { [Symbol.for('@oneshot/etl')]: api });
  const config = await createOclifConfig();
  try {
    await run([...argv], config);
  } catch (error) {
    reportError(error, argv, config);
  }
  await drainOutput();
  endProcess();
}

/**
 * Shows warnings, and errors that no code catches, as all other output: Node.js writes them to stderr itself, with their
 * secrets and control characters. During a run, the run reports the errors.
 */
function replaceReportsOfNode(): void {
  const { text } = createOutput(2, () => undefined);
  process.on('uncaughtException', (error) => {
    // The other listener is that of a run, or of the user.
    if (process.listenerCount('uncaughtException') > 1) return;
    const paint = createPaint(isColoured(undefined, process.env, process.stderr.isTTY));
    text(joinLines(formatErrorLines(createUnhandledError(error), paint)));
    setExitCode(EXIT.taskFailed);
    endProcess();
  });
  // There is no listener if the user has turned the warnings off.
  if (process.listenerCount('warning') === 0) return;
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => text(`${name}: ${message}\n`));
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
  createOutput(2, () => undefined).text(joinLines(formatErrorLines(shown, paint)));
  if (argv.includes('--json'))
    createOutput(1, () => undefined).json(`${formatJson(buildErrorJson(shown), 2)}\n`);
  setExitCode(shown.exitCode);
}
