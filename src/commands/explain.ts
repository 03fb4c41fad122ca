import * as Args from '@oclif/core/args';
import { EtlCommand } from '../command.js';
import {
  type ErrorDescription,
  findErrorDescription,
  readErrorCatalogue,
} from './program/error-catalogue.js';
import { formatTable } from './program/terminal.js';
import type { Paint } from '../runtime/report/words.js';

/** `etl explain`: describes an error code, or lists all codes. Reads no config. */
export class ExplainCommand extends EtlCommand {
  static override summary = 'Say what an error code means, why the error happens, and what to do.';
  static override description = 'Without a code, lists all codes. The same texts are in docs/errors.md.';
  static override examples = ['<%= config.bin %> explain ETL-2202', '<%= config.bin %> explain'];
  static override args = {
    code: Args.string({ description: 'The code of an error, such as ETL-2202 or 2202.' }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ExplainCommand);
    const catalogue = readErrorCatalogue();
    const paint = this.paint(flags.color, 'stdout');
    if (args.code === undefined) {
      if (flags.json) this.printJson(catalogue);
      else this.out(formatTable(catalogue.map(({ code, what }) => [paint.strong(code), what])));
      return;
    }
    const found = findErrorDescription(catalogue, args.code);
    if (flags.json) this.printJson(found);
    else this.out(formatDescription(found, paint));
  }
}

/** Formats the description of a code for a person, with the example indented. */
function formatDescription({ code, what, why, fix, example }: ErrorDescription, paint: Paint): string {
  const lines = example.split('\n').map((line) => `  ${line}`);
  return `${paint.strong(code)} ${what}\n\n${why}\n\nWhat to do: ${fix}\n\nExample:\n\n${lines.join('\n')}\n`;
}
