import { CheckCommand } from './check.js';
import { ConnectionsListCommand } from './connections/list.js';
import { ConnectionsTestCommand } from './connections/test.js';
import { DoctorCommand } from './doctor.js';
import { ExplainCommand } from './explain.js';
import { HelpCommand } from './help.js';
import { InitCommand } from './init.js';
import { LedgerMigrateCommand } from './ledger/migrate.js';
import { LedgerSqlCommand } from './ledger/sql.js';
import { LedgerStatusCommand } from './ledger/status.js';
import { ListCommand } from './list.js';
import { LoadCommand } from './load.js';
import { RunCommand } from './run.js';
import { RunsCommand } from './runs.js';
import { ShowCommand } from './show.js';
import { SqlCommand } from './sql.js';
import { StateClearCommand } from './state/clear.js';
import { StateGetCommand } from './state/get.js';
import { StateListCommand } from './state/list.js';
import { StateSetCommand } from './state/set.js';
import { TransferCommand } from './transfer.js';
import { UnloadCommand } from './unload.js';

/** The commands by ID, for oclif. A colon in an ID is a space on the command line. */
export const COMMANDS = {
  check: CheckCommand,
  'connections:list': ConnectionsListCommand,
  'connections:test': ConnectionsTestCommand,
  doctor: DoctorCommand,
  explain: ExplainCommand,
  help: HelpCommand,
  init: InitCommand,
  'ledger:migrate': LedgerMigrateCommand,
  'ledger:sql': LedgerSqlCommand,
  'ledger:status': LedgerStatusCommand,
  list: ListCommand,
  load: LoadCommand,
  run: RunCommand,
  runs: RunsCommand,
  show: ShowCommand,
  sql: SqlCommand,
  'state:clear': StateClearCommand,
  'state:get': StateGetCommand,
  'state:list': StateListCommand,
  'state:set': StateSetCommand,
  transfer: TransferCommand,
  unload: UnloadCommand,
};
