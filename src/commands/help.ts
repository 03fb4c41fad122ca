import { Args, loadHelpClass } from '@oclif/core';
import { EtlCommand } from '../command.js';

export class HelpCommand extends EtlCommand {
  static override summary = 'Show help for a command.';
  static override examples = ['<%= config.bin %> help run', '<%= config.bin %> help connections list'];
  static override args = { command: Args.string({ description: 'The command.' }) };
  static override strict = false;

  override async run(): Promise<void> {
    const { argv } = await this.parse(HelpCommand);
    const Help = await loadHelpClass(this.config);
    await new Help(this.config, this.config.pjson.oclif.helpOptions ?? {}).showHelp(argv.map(String));
  }
}
