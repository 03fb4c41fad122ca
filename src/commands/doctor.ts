import { connFlag, EtlCommand } from '../command.js';
import { EtlError } from '../errors.js';
import { findConfigSource, findDagFaults, findTimeZones } from './doctor/config-findings.js';
import { findDatabaseStates } from './doctor/database-findings.js';
import {
  buildFindingsJson,
  chooseDoctorExitCode,
  createFailure,
  type Finding,
  formatFindings,
} from './doctor/finding.js';
import { findCaches, findVersions, findWrapper } from './doctor/process-findings.js';
import { setExitCode } from './program/process-end.js';
import type { Program } from './program/program.js';

/** `etl doctor`: shows what a run would work with, and what may surprise a person. Changes nothing. */
export class DoctorCommand extends EtlCommand {
  static override summary =
    'Show the versions, the config, the connections, the ledgers, the clocks and the caches.';
  static override description = `Says which config is used and why, opens each connection, compares the clock of each server and the time zone of each scheduled Dag with those of this machine, and looks for a program between the scheduler and etl that passes no signals on. Changes nothing. Shows no secret. A mark says how each line ends: ✔ right, ! may surprise you, ✖ a run does not work.

Exit codes: 0 nothing fails, 2 the config, a Dag or a definition is wrong, 69 a database of a Dag can't be reached, 1 something else fails.`;
  static override examples = ['<%= config.bin %> doctor', '<%= config.bin %> doctor --json'];
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { flags } = await this.parse(DoctorCommand);
    // Before the config is loaded: the `.env` files can set variables, too.
    const findings = [...findVersions(), findWrapper(process.env)];
    const program = await this.#load(flags, findings);
    findings.push(...findCaches(process.env, program?.loaded.directory));
    if (program !== undefined) findings.push(...(await this.#examine(program, flags.config)));
    setExitCode(chooseDoctorExitCode(findings));
    if (flags.json) return this.printJson(buildFindingsJson(findings));
    this.out(formatFindings(findings, this.paint(flags.color, 'stdout')));
    this.printErrors(findings, flags.color);
  }

  /** Loads the config. If that fails, adds the error to the findings and returns undefined. */
  async #load(
    flags: { config?: string | undefined; conn?: readonly string[] | undefined },
    findings: Finding[],
  ): Promise<Program | undefined> {
    try {
      return await this.loadProgram(flags);
    } catch (error) {
      if (!(error instanceof EtlError)) throw error;
      findings.push(createFailure('config', undefined, error));
      return undefined;
    }
  }

  async #examine(program: Program, flag: string | undefined): Promise<readonly Finding[]> {
    const source = { flag, variable: process.env['ETL_CONFIG'], directory: process.cwd() };
    return [
      ...findConfigSource(program, source),
      ...findDagFaults(program),
      ...(await findDatabaseStates(program)),
      ...findTimeZones(program, new Date()),
    ];
  }
}
