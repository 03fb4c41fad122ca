import { CheckCommand } from './check.js';
import { ConnectionsListCommand } from './connections/list.js';
import { ConnectionsTestCommand } from './connections/test.js';
import { HelpCommand } from './help.js';
import { ListCommand } from './list.js';
import { RunCommand } from './run.js';

/** Every command by its ID, for oclif. */
export const COMMANDS = {
  check: CheckCommand,
  'connections:list': ConnectionsListCommand,
  'connections:test': ConnectionsTestCommand,
  help: HelpCommand,
  list: ListCommand,
  run: RunCommand,
};
