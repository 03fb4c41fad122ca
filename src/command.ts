import { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import type * as Interfaces from '@oclif/core/interfaces';
import { didYouMean, EtlError, EXIT } from './errors.js';
import type { DebugLog } from './commands/program/debug-log.js';
import { listGivenWords } from './commands/program/given-words.js';
import { describeRestriction } from './commands/program/node-restriction.js';
import { loadProgram, type Program } from './commands/program/program.js';
import { setGivenWords } from './runtime/report/command-line.js';
import { buildErrorFields, formatErrorLines, type Paint, joinLines } from './runtime/report/words.js';
import { createOutput, createPaint, isColoured, type Write } from './commands/program/terminal.js';
import { formatJson } from './runtime/report/safe-text.js';
import { captureStdout, loseOutput, setExitCode } from './commands/program/process-end.js';

/** The base class of all commands of `etl`: the global flags, the output streams, the colours and the error report. */
export abstract class EtlCommand extends Command {
  static override baseFlags = {
    config: Flags.string({
      description: 'The config file to use, instead of searching for one.',
      helpGroup: 'GLOBAL',
    }),
    color: Flags.boolean({
      description: 'Colour the output or not. Default: NO_COLOR, FORCE_COLOR and the terminal decide.',
      allowNo: true,
      helpGroup: 'GLOBAL',
    }),
    json: Flags.boolean({ description: 'Print the result as JSON on stdout.', helpGroup: 'GLOBAL' }),
    debug: Flags.boolean({
      description:
        'Show each statement that is sent to a database, with its time, and the stack of each error, on stderr.',
      env: 'ETL_DEBUG',
      helpGroup: 'GLOBAL',
    }),
    'show-data': Flags.boolean({
      description:
        'Show values of rows in messages, and store them in the ledger. Default: `showData` of the config; else only a terminal shows them.',
      allowNo: true,
      helpGroup: 'GLOBAL',
    }),
  };

  /** The value of `--show-data`, else of `showData` in the config. Undefined: only a terminal shows values of rows. */
  #showData: boolean | undefined;

  /** Writes what `--debug` shows. Undefined without the flag. */
  protected debugLog: DebugLog | undefined;

  /** True if the command has failed when its data can't be written to stdout. False for a run, which goes on. */
  protected readonly isDataCommand: boolean = true;
  protected readonly stdout = createOutput(1, (error) => this.#onWriteFailed('stdout', error));
  protected readonly stderr = createOutput(2, () => undefined);
  /** Writes data to stdout, for another program or a person. */
  protected readonly out: Write = this.stdout.text;
  /** Writes progress and errors to stderr, for a person. */
  protected readonly err: Write = this.stderr.text;

  /** Returns the colours for a stream; `flag` is the value of `--color`. */
  protected paint(flag: boolean | undefined, stream: 'stdout' | 'stderr'): Paint {
    return createPaint(isColoured(flag, process.env, process[stream].isTTY));
  }

  /**
   * Loads the config and the connections. With `needsConfig` false, the command also works without a config file, and
   * `--conn` can have an ID without a URL. Throws an `EtlError` with exit code 2 if the config or a definition is wrong.
   */
  protected async loadProgram(
    flags: { config?: string | undefined; conn?: readonly string[] | undefined },
    needsConfig = true,
  ): Promise<Program> {
    captureStdout((line, scope) => (scope ? scope.log(line) : this.print(line)));
    const program = await loadProgram({
      debug: this.debugLog,
      config: flags.config,
      connections: parseConnFlags(flags.conn ?? [], needsConfig),
      needsConfig,
      notice: (text) => this.err(`note: ${text}\n`),
    });
    this.#showData ??= program.loaded.config.showData;
    setGivenWords({ ...listGivenWords(program, flags), runFlags: this.listRunFlags(flags) });
    return program;
  }

  /** Returns the flags of this command that a resume of its run needs. Only `etl run` has such flags. */
  protected listRunFlags(_flags: object): readonly string[] {
    return [];
  }

  protected override async init(): Promise<void> {
    await super.init();
    // Reads the words themselves: an error can be shown before the flags are parsed.
    if (this.argv.includes('--show-data')) this.#showData = true;
    else if (this.argv.includes('--no-show-data')) this.#showData = false;
    // As oclif reads the variable of a flag without a value.
    const isAsked = /^(?:true|yes|y|1)$/i.test(process.env['ETL_DEBUG'] ?? '');
    if (!isAsked && !this.argv.includes('--debug')) return;
    const { DebugLog } = await import('./commands/program/debug-log.js');
    this.debugLog = new DebugLog({
      write: this.err,
      showsRowData: () => this.showsRowData('stderr'),
      directory: process.cwd(),
    });
  }

  /** True if JSON and the ledger may contain values of rows. */
  protected get recordsRowData(): boolean {
    return this.#showData === true;
  }

  /** Returns true if the text on a stream may contain values of rows. */
  protected showsRowData(stream: 'stdout' | 'stderr'): boolean {
    return this.#showData ?? process[stream].isTTY;
  }

  /** Shows the errors of results on stderr. A result is for example a connection that was tried. */
  protected printErrors(
    results: readonly { readonly error?: EtlError | undefined }[],
    flag: boolean | undefined,
  ): void {
    const paint = this.paint(flag, 'stderr');
    const showsRowData = this.showsRowData('stderr');
    for (const { error } of results) {
      if (error === undefined) continue;
      this.err(joinLines(formatErrorLines(error, paint, showsRowData)));
      this.debugLog?.addError(error, 'the command');
    }
  }

  /** Shows a line that the config has printed, on stderr. */
  protected print(line: string): void {
    this.err(`${line}\n`);
  }

  /** Prints data as JSON on stdout. */
  protected printJson(data: unknown): void {
    this.stdout.json(`${formatJson(data, 2)}\n`);
  }

  /**
   * Shows an error of the command and sets the exit code. An error that is neither an `EtlError` nor a usage error of
   * oclif is shown as a bug, with its stack. With `--json`, also prints the error as JSON, unless it is a bug. oclif
   * calls this method; its own version would end the process before the report is written.
   */
  protected override async catch(error: Error): Promise<void> {
    const isJson = this.argv.includes('--json');
    const shown = this.toShownError(error);
    setExitCode(shown?.exitCode ?? EXIT.bug);
    if (shown === undefined) this.err(formatBugReport(error));
    else this.printErrors([{ error: shown }], undefined);
    if (isJson && shown) this.printJson(buildErrorJson(shown, this.recordsRowData));
  }

  /** Returns the error that the command shows for a thrown error. Undefined for a bug of etl. */
  protected toShownError(error: Error): EtlError | undefined {
    if (error instanceof EtlError) return error;
    const usage = toUsageError(error, this.id?.replaceAll(':', ' '));
    return usage ?? describeRestriction(error, process.env['NODE_OPTIONS']);
  }

  /** Reports on stderr that a stream can't be written any more. */
  #onWriteFailed(stream: string, error: Error): void {
    // A reader that closes the pipe early, as in `etl list | head -1`, is not a failure.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return;
    if (this.isDataCommand) loseOutput();
    this.err(`etl: ${stream} can't be written (${error.message}); the rest of the output is lost\n`);
  }
}

/** The flag `--conn`, which defines a connection for one call. */
export const connFlag = Flags.string({
  description:
    'Define a connection for this call. The process list shows the value, so prefer an ETL_CONN_ variable.',
  helpValue: 'id=url',
  multiple: true,
  multipleNonGreedy: true,
});

/** The flag `--conn` of the commands about past runs. */
export const historyConnFlag = Flags.string({
  description:
    'Also read the ledger of this connection. `id=url` defines the connection for this call. No config is needed then.',
  helpValue: 'id[=url]',
  multiple: true,
  multipleNonGreedy: true,
});

/** Returns the JSON that a command prints for an error: `{ error: { code, what, … } }`. */
export function buildErrorJson(error: EtlError, showsRowData = false): unknown {
  return { error: buildErrorFields(error, showsRowData) };
}

/**
 * Returns the error for arguments that name no command. There are three cases:
 *
 * - A flag stands before the command: `--json list` (ETL-2001).
 * - A command has an argument too many: `list shop` (ETL-2001).
 * - No command has this name: `lst` (ETL-2003). The error suggests the nearest name.
 */
export function createUnknownCommandError(argv: readonly string[], config: Interfaces.Config): EtlError {
  const firstFlag = argv.findIndex((word) => word.startsWith('-'));
  if (firstFlag === 0) {
    const [flag] = (argv[0] ?? '').split('=');
    const fix = `write the command first: etl <command> ${flag}`;
    return new EtlError('ETL-2001', { what: `the flag ${flag} stands before the command`, fix });
  }
  const given = argv.slice(0, firstFlag < 0 ? undefined : firstFlag).join(' ');
  const ids = config.commandIDs.map((id) => id.replaceAll(':', ' '));
  const command = ids.find((id) => given.startsWith(`${id} `));
  if (command !== undefined) {
    const what = `unexpected argument: ${given.slice(command.length + 1)}`;
    return new EtlError('ETL-2001', { what, fix: `see etl ${command} --help` });
  }
  const names = [...ids, ...config.topics.map(({ name }) => name)];
  return new EtlError('ETL-2003', {
    what: `there is no command "${given}"${didYouMean(given, names)}`,
    fix: `the commands are ${ids.join(', ')}`,
  });
}

/**
 * Parses the values of `--conn`. Example: `['shop=postgres://db/shop']` -> `{ shop: 'postgres://db/shop' }`. If two
 * values have the same ID, the last one counts. Throws ETL-2001 for a value that is not of the form `id=url`, or `id` if
 * `needsUrl` is false.
 */
function parseConnFlags(
  values: readonly string[],
  needsUrl: boolean,
): Readonly<Record<string, string | undefined>> {
  const entries = values.map((value, index): [string, string | undefined] => {
    const equals = value.indexOf('=');
    if (!needsUrl && /^[\w.-]+$/.test(value)) return [value, undefined];
    if (equals > 0 && !value.slice(0, equals).includes('://'))
      return [value.slice(0, equals), value.slice(equals + 1)];
    // The message does not repeat the value, because the value may hold a password.
    throw new EtlError('ETL-2001', {
      what: `--conn number ${index + 1} is not of the form ${needsUrl ? 'id=url' : 'id or id=url'}`,
      fix: 'write for example --conn shop=postgres://me@db.example.com/shop',
    });
  });
  return Object.fromEntries(entries);
}

/**
 * Converts oclif's error about a flag or an argument to ETL-2001: the first line of oclif's message becomes `what`, the
 * other lines become `why`. Returns undefined for any other error: only oclif's errors have the property `oclif`.
 * `command` is the name of the command with spaces, such as `state list`.
 */
function toUsageError(error: Error, command: string | undefined): EtlError | undefined {
  const { oclif } = error as { oclif?: { exit?: number | false } };
  if (oclif === undefined) return undefined;
  const lines = error.message.split('\n').map((line) => line.trim());
  const [what = '', ...rest] = lines.filter((line) => line !== '' && !OCLIF_ADVICE.test(line));
  return new EtlError('ETL-2001', {
    what: lowerFirst(what.replace(/:$/, '')),
    why: rest.length === 0 ? undefined : lowerFirst(rest.join('\n')),
    fix: command === undefined ? 'see etl --help' : `see etl ${command} --help`,
  });
}

/** Returns a text with its first letter in lower case, because our messages begin in lower case. */
function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/**
 * The lines of oclif's messages that the report leaves out. Our `fix` replaces the advice. The note on repeated flags
 * is wrong, because each of our flags takes one value.
 */
const OCLIF_ADVICE = /^(?:See more help with --help|Note: .* allow|Alternatively, you can use "--")/;

/** Formats an error that is a bug of etl. The stack is shown, because the developers need it. */
function formatBugReport(error: Error): string {
  return `ETL-9001 a bug in etl, not in your code: ${error.stack ?? error.message}\n`;
}
