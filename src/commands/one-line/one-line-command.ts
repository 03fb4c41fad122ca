import * as Flags from '@oclif/core/flags';
import { EtlError } from '../../errors.js';
import { dag, type Dag, type DagBuilder } from '../../runtime/dag/dag.js';
import { getDagCode } from '../../runtime/dag/dag-code.js';
import { setRoot } from '../../runtime/modules/location.js';
import { setGivenWords } from '../../runtime/report/command-line.js';
import { formatConnection, listGivenWords } from '../program/given-words.js';
import type { Program } from '../program/program.js';
import { createDagRequest, type RequestFlags } from '../run/request.js';
import { RunningCommand, RUNNING_FLAGS, type RunningFlags } from '../run/running-command.js';
import { readConnectionId } from './one-line-flags.js';

/** The flags of all commands that run one task of the command line. */
export const ONE_LINE_FLAGS = {
  conn: Flags.string({
    description:
      'The connection, by its ID; `id=url` defines the connection for this call. Default: `conn` in the `defaults` of the config, else "default".',
    helpValue: 'id[=url]',
  }),
  resume: Flags.boolean({
    description:
      'Resume the last run of this command, or the run of --run-id. If its task has succeeded, nothing runs again.',
  }),
  'or-resume': Flags.boolean({
    description:
      'With --run-id: resume this run if it exists already, else start it. A scheduler can then repeat its command.',
  }),
  'run-id': Flags.string({ description: 'The ID of the new run, or of the run to resume.' }),
  retries: Flags.integer({ description: 'How often a failed attempt is repeated.', min: 0 }),
  ...RUNNING_FLAGS,
};

/** The values of `ONE_LINE_FLAGS`. */
export interface OneLineFlags extends RunningFlags, RequestFlags {
  readonly overlap: string;
  readonly config?: string | undefined;
  readonly conn?: string | undefined;
  readonly retries?: number | undefined;
}

/** The builder of the Dag of a command line. */
export type OneTaskBuilder = DagBuilder<Readonly<Record<never, never>>, undefined>;

/** The only task of a command line. */
export interface OneTask {
  readonly dagId: string;
  /** The words of the command line that say what the task does, without the flags of `ONE_LINE_FLAGS`. */
  readonly words: readonly string[];
  /** Adds the task to its Dag. */
  readonly add: (d: OneTaskBuilder) => void;
}

/** A command that defines a Dag of one task by its command line, and runs the Dag as `etl run` does. */
export abstract class OneLineCommand extends RunningCommand {
  /**
   * Loads the config, if there is one, with the connections that the command line names. `from` is the connection that a
   * transfer reads.
   */
  protected loadOneLineProgram(
    { config, conn }: Pick<OneLineFlags, 'config' | 'conn'>,
    from?: string,
  ): Promise<Program> {
    return this.loadProgram({ config, conn: [conn, from].filter((each) => each !== undefined) }, false);
  }

  /** Runs the Dag of one task. Throws an `EtlError` with exit code 2 if the command line is wrong. */
  protected async runTask(task: OneTask, program: Program, flags: OneLineFlags): Promise<void> {
    const { config, conn, retries } = flags;
    this.notifications.setDag(task.dagId);
    this.notifications.setConfig(program.loaded);
    const given = listGivenWords(program, { config, conn: conn === undefined ? [] : [conn] });
    const runFlags = [
      ...(retries === undefined ? [] : ['--retries', String(retries)]),
      ...this.listRunFlags(flags),
    ];
    setGivenWords({ ...given, runFlags, runWords: [this.id ?? '', ...task.words] });
    const id =
      conn === undefined ? (program.loaded.config.defaults.conn ?? 'default') : readConnectionId(conn);
    const defined = this.#define(task, { conn: id, ...(retries === undefined ? {} : { retries }) });
    await this.execute(await createDagRequest(program, defined, flags), program, flags);
  }

  /** Returns a value `id` or `id=url` of a flag for a command that is printed. */
  protected formatConnection(program: Program, value: string): string {
    return formatConnection(program, value);
  }

  /** Defines the Dag. An error in its options names the command line. Relative paths start at the working directory. */
  #define({ dagId, add }: OneTask, defaults: { readonly conn: string; readonly retries?: number }): Dag {
    const origin = `the command line (etl ${this.id})`;
    try {
      const defined = dag(dagId, { defaults }, (d) => add(d));
      // The code of the functions is that of this program, so only the options decide whether a resume runs the task again.
      setRoot(defined.location, process.cwd(), getDagCode('of the command line'), origin);
      return defined;
    } catch (error) {
      if (!(error instanceof EtlError)) throw error;
      const { code, what, why, fix = `see etl ${this.id} --help`, cause } = error;
      throw new EtlError(code, { what, where: origin, why, fix, data: 'nothing was started', cause });
    }
  }
}
