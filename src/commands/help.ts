import * as Args from '@oclif/core/args';
import { loadHelpClass } from '@oclif/core/help';
import { EtlCommand, createUnknownCommandError } from '../command.js';

/**
 * `etl help`: shows oclif's help for the program, a topic or a command. Fails with ETL-2003 if the words name no topic
 * and no command.
 */
export class HelpCommand extends EtlCommand {
  static override summary = 'Show the help for a command.';
  static override examples = ['<%= config.bin %> help run', '<%= config.bin %> help connections list'];
  static override args = { command: Args.string({ description: 'The command, in one or two words.' }) };
  static override strict = false;

  override async run(): Promise<void> {
    const words = (await this.parse(HelpCommand)).argv.map(String);
    const id = words.join(':');
    if (id !== '' && !this.config.findCommand(id) && !this.config.findTopic(id))
      throw createUnknownCommandError(words, this.config);
    const Help = await loadHelpClass(this.config);
    await new Help(this.config, this.config.pjson.oclif.helpOptions ?? {}).showHelp(words);
  }
}
