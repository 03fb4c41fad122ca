import * as Flags from '@oclif/core/flags';
import { EtlCommand } from '../command.js';
import { EXIT } from '../errors.js';
import { loadEnvironment } from '../hooks/environment.js';
import { learnFromVariables } from '../runtime/secrets/learned-secrets.js';
import { setProcessUser } from '../runtime/trust/trusted-file.js';
import {
  type Candidate,
  type Candidates,
  describeVariable,
  findDatabases,
  findNamedDatabase,
} from './init/choose-database.js';
import { findPackageCommands, type PackageCommands } from './init/package-commands.js';
import { readProjectFacts, type ProjectFacts } from './init/project-facts.js';
import type { FileResult } from './init/project-files.js';
import { askForDatabase } from './init/questions.js';
import { listInstallCommands, type NextCommand, setUpProject } from './init/set-up.js';
import { DAG_ID } from './init/starter-config.js';
import { captureStdout, setExitCode } from './program/process-end.js';
import { formatTable } from './program/terminal.js';
import { getSignalExitCode } from './run/guard.js';

/** `etl init`: writes the files of a first Dag into the working directory. */
export class InitCommand extends EtlCommand {
  static override summary = 'Set up a project in this directory, with a Dag that runs at once.';
  static override description = `Writes a config with a Dag and a model, a small CSV file, and the tsconfig.json, package.json, .env.example and .gitignore that are missing. Overwrites no file. On a terminal, the command asks where the database is. Otherwise, or with --yes, the command takes the first of these that it finds: DATABASE_URL, a knexfile with a PostgreSQL connection, an embedded database.

No password is written into a file: the config takes it from a variable or from the knexfile.

Exit codes: 0 the files are written, 2 a file can't be written or a database can't be used, 130 the question was cancelled.`;
  static override examples = [
    '<%= config.bin %> init',
    '<%= config.bin %> init --embedded',
    '<%= config.bin %> init --url-from DATABASE_URL',
    '<%= config.bin %> init --knexfile knexfile.ts --env development',
  ];
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'Ask nothing, and take the first database that is found.' }),
    embedded: Flags.boolean({
      description: 'Use an embedded PostgreSQL (PGlite) in .etl/db, for a first look.',
      exclusive: ['url-from', 'knexfile', 'env'],
    }),
    'url-from': Flags.string({
      description: 'Use the server whose URL is in this environment variable.',
      helpValue: '<variable>',
      exclusive: ['embedded', 'knexfile', 'env'],
    }),
    knexfile: Flags.string({
      description: 'Use the connection of this knexfile.',
      helpValue: '<path>',
      exclusive: ['embedded', 'url-from'],
    }),
    env: Flags.string({
      description: 'The environment of the knexfile. Default: NODE_ENV; else development.',
      helpValue: '<name>',
      exclusive: ['embedded', 'url-from'],
    }),
  };

  override async run(): Promise<void> {
    const { flags } = await this.parse(InitCommand);
    captureStdout((line) => this.print(line));
    const directory = process.cwd();
    setProcessUser(process.getuid?.bind(process));
    const variables = readVariables(directory);
    const facts = readProjectFacts(directory);
    const named = await findNamedDatabase(flags, directory, variables);
    const found =
      named === undefined
        ? await findDatabases(directory, variables)
        : { candidates: [named] as const, notes: [] };
    const isAsking =
      named === undefined &&
      facts.config === undefined &&
      !flags.yes &&
      !flags.json &&
      process.stdin.isTTY &&
      process.stderr.isTTY;
    const chosen = isAsking ? await this.#ask(found, variables) : found.candidates[0];
    if (chosen === undefined) {
      this.err('cancelled: nothing was written\n');
      return setExitCode(getSignalExitCode('SIGINT'));
    }
    const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const files = await setUpProject(facts, chosen.choice, timezone);
    const commands = await findPackageCommands(directory);
    const result = { files, chosen, facts, notes: found.notes, commands };
    setExitCode(EXIT.success);
    if (flags.json) this.printJson(buildJson(result));
    else this.out(formatResult(result));
  }

  /** Asks for the database on the terminal. Undefined if the person has cancelled the question. */
  async #ask(
    { candidates, notes }: Candidates,
    variables: NodeJS.ProcessEnv,
  ): Promise<Candidate | undefined> {
    for (const note of notes) this.err(`note: ${note}\n`);
    const answer = await askForDatabase(candidates, { input: process.stdin, output: process.stderr });
    return typeof answer === 'string' ? describeVariable(answer, variables) : answer;
  }
}

/**
 * Reads the `.env` files of a directory, and sets their variables in the environment of this process, as the start of a
 * run does: a knexfile can use them. Returns all variables.
 */
function readVariables(directory: string): NodeJS.ProcessEnv {
  const { variables } = loadEnvironment({ variables: process.env, directory });
  learnFromVariables(variables);
  for (const [name, value] of Object.entries(variables)) process.env[name] ??= value;
  return process.env;
}

/** The files that the command has written, and the facts about the project. */
interface InitResult {
  readonly files: readonly FileResult[];
  readonly chosen: Candidate;
  readonly facts: ProjectFacts;
  readonly notes: readonly string[];
  readonly commands: PackageCommands;
}

/** Lists the commands that a person runs next, in order. A project with a config of its own has other Dags. */
function listNextCommands({ chosen, facts, commands }: InitResult): {
  readonly first: readonly NextCommand[];
  readonly later: readonly NextCommand[];
} {
  const { forRuns, forTypes } = listInstallCommands(facts, chosen.choice, commands);
  if (facts.config !== undefined)
    return { first: [{ command: commands.run('etl', 'list'), purpose: 'list the Dags' }], later: [] };
  return {
    first: [...forRuns, { command: commands.run('etl', 'run', DAG_ID), purpose: 'run the Dag' }],
    later: [
      ...forTypes,
      { command: commands.run('tsc', '--noEmit'), purpose: 'check the types' },
      { command: commands.run('etl', 'doctor'), purpose: 'look at versions, connections and clocks' },
    ],
  };
}

/** Formats the result for a person. */
function formatResult(result: InitResult): string {
  const { files, chosen, facts, notes } = result;
  const { first, later } = listNextCommands(result);
  const rows = files.map(({ path, action, note = '' }) => [WORDS[action], path, note]);
  const toRow = ({ command, purpose }: NextCommand): string[] => [`  ${command}`, purpose];
  return [
    formatTable(rows),
    ...notes.map((note) => `note: ${note}\n`),
    ...(facts.config === undefined ? [`\ndatabase: ${chosen.label}\n`] : []),
    `\nnext:\n${formatTable(first.map(toRow))}`,
    ...(later.length === 0 ? [] : [`\nlater:\n${formatTable(later.map(toRow))}`]),
  ].join('');
}

const WORDS = { created: 'created', kept: 'kept', added: 'added lines to' } as const;

/** Returns the JSON of the result for another program. */
function buildJson(result: InitResult): object {
  const { files, chosen, facts, notes, commands } = result;
  const { first, later } = listNextCommands(result);
  return {
    files,
    database: facts.config === undefined ? { kind: chosen.choice.kind, place: chosen.label } : undefined,
    dag: facts.config === undefined ? DAG_ID : undefined,
    package_manager: commands.name,
    next: first,
    later,
    notes,
  };
}
