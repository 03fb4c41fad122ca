import { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import type * as Interfaces from '@oclif/core/interfaces';
import { didYouMean, EtlError, EXIT } from './errors.js';
import { loadProgram, type Program } from './commands/program/program.js';
import { buildErrorFields, formatErrorLines, type Paint, joinLines } from './runtime/report/words.js';
import { isColoured, Mask, paintOf, createWriter, type Write } from './commands/program/terminal.js';

/** What every command of `etl` shares: flags, streams, colour, and how an error ends it. */
export abstract class EtlCommand extends Command {
  static override baseFlags = {
    config: Flags.string({
      description: 'The config file, instead of searching for it.',
      helpGroup: 'GLOBAL',
    }),
    color: Flags.boolean({
      description: 'Colour the output, or not; otherwise NO_COLOR, FORCE_COLOR and the terminal decide.',
      allowNo: true,
      helpGroup: 'GLOBAL',
    }),
    json: Flags.boolean({ description: 'Print the result as JSON on stdout.', helpGroup: 'GLOBAL' }),
  };

  protected readonly mask = new Mask();
  /** Data: what another program reads. */
  protected readonly out: Write = createWriter(1, this.mask, (error) => this.#onLost('stdout', error));
  /** Progress and errors: what a person reads. */
  protected readonly err: Write = createWriter(2, this.mask, () => undefined);

  /** The colours of a stream. */
  protected paint(flag: boolean | undefined, stream: 'stdout' | 'stderr'): Paint {
    return paintOf(isColoured(flag, process.env, process[stream].isTTY));
  }

  /** Loads the config and the connections. Throws `EtlError` with exit code 2. */
  protected loadProgram(flags: {
    config?: string | undefined;
    conn?: readonly string[] | undefined;
  }): Promise<Program> {
    return loadProgram({
      config: flags.config,
      connections: parseConnFlags(flags.conn ?? []),
      mask: this.mask,
      notice: (text) => this.err(`note: ${text}\n`),
    });
  }

  /** Prints data for another program. */
  protected printJson(data: unknown): void {
    this.out(`${JSON.stringify(data, null, 2)}\n`);
  }

  /** Shows an error and sets the exit code. oclif's own way would end the process before the report is written. */
  protected override async catch(error: Error): Promise<void> {
    const isJson = this.argv.includes('--json');
    const shown = error instanceof EtlError ? error : toUsageError(error, this.id?.replaceAll(':', ' '));
    process.exitCode = shown?.exitCode ?? EXIT.bug;
    if (shown === undefined) this.err(formatBugReport(error));
    else this.err(joinLines(formatErrorLines(shown, this.paint(undefined, 'stderr'))));
    if (isJson && shown) this.printJson(buildErrorJson(shown));
  }

  #onLost(stream: string, error: Error): void {
    // A reader that has seen enough, as in `etl list | head -1`, is no failure.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') {
      this.err(`etl: ${stream} can't be written (${error.message}); the rest of the output is lost\n`);
    }
  }
}

/** The flag that defines a connection for one call. */
export const connFlag = Flags.string({
  description:
    'Define a connection for this call: id=url. It shows in the process list: better an ETL_CONN_ variable.',
  helpValue: 'id=url',
  multiple: true,
  multipleNonGreedy: true,
});

/** An error that ends a command, for another program. */
export function buildErrorJson(error: EtlError): unknown {
  return { error: buildErrorFields(error) };
}

/** What is wrong with arguments that name no command: a flag before it, one too many after it, or a misspelt name. */
export function createUnknownCommandError(argv: readonly string[], config: Interfaces.Config): EtlError {
  const firstFlag = argv.findIndex((word) => word.startsWith('-'));
  if (firstFlag === 0) {
    const [flag] = (argv[0] ?? '').split('=');
    const fix = `write the command first: etl <command> ${flag}`;
    return new EtlError('ETL-2001', { what: `${flag} stands before the command`, fix });
  }
  const given = removePassword(argv.slice(0, firstFlag < 0 ? undefined : firstFlag).join(' '));
  const ids = config.commandIDs.map((id) => id.replaceAll(':', ' '));
  const command = ids.find((id) => given.startsWith(`${id} `));
  if (command !== undefined) {
    const what = `Unexpected argument: ${given.slice(command.length + 1)}`;
    return new EtlError('ETL-2001', { what, fix: `see etl ${command} --help` });
  }
  const names = [...ids, ...config.topics.map(({ name }) => name)];
  return new EtlError('ETL-2003', {
    what: `there is no command "${given}"${didYouMean(given, names)}`,
    fix: `the commands are ${ids.join(', ')}`,
  });
}

function parseConnFlags(values: readonly string[]): Readonly<Record<string, string>> {
  const entries = values.map((value, index): [string, string] => {
    const equals = value.indexOf('=');
    if (equals > 0) return [value.slice(0, equals), value.slice(equals + 1)];
    // The value may hold a password: it is not repeated.
    throw new EtlError('ETL-2001', {
      what: `--conn number ${index + 1} is not of the form id=url`,
      fix: 'write for example --conn shop=postgres://me@db.example.com/shop',
    });
  });
  return Object.fromEntries(entries);
}

/** oclif's errors about flags and arguments are the user's; they carry an exit code. */
function toUsageError(error: Error, command: string | undefined): EtlError | undefined {
  const { oclif } = error as { oclif?: { exit?: number | false } };
  if (oclif === undefined) return undefined;
  const lines = removePassword(error.message)
    .split('\n')
    .map((line) => line.trim());
  const [what = '', ...rest] = lines.filter((line) => line !== '' && !OCLIF_ADVICE.test(line));
  return new EtlError('ETL-2001', {
    what: what.replace(/:$/, ''),
    why: rest.length === 0 ? undefined : rest.join('\n'),
    fix: command === undefined ? 'see etl --help' : `see etl ${command} --help`,
  });
}

/** Our own way out is shown instead. The note on repeated flags is wrong: each of ours takes one value. */
const OCLIF_ADVICE = /^(?:See more help with --help|Note: .* allow|Alternatively, you can use "--")/;

/** A connection string in the wrong place is not repeated with its password. */
function removePassword(text: string): string {
  return text.replace(/(:\/\/[^\s:@/]*:)\S*@/g, '$1***@');
}

function formatBugReport(error: Error): string {
  return `ETL-9001 a bug in etl, not in your code: ${error.stack ?? error.message}\n`;
}
