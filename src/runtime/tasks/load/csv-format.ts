import { didYouMean, EtlError } from '../../../errors.js';
import { type Encoding, findEncoding, listEncodingNames } from '../../format/encodings.js';
import type { Quoting } from '../../format/record-ends.js';
import { quoteLiteral } from '../../sql/quote.js';

/** The format of a CSV file. The defaults are those of PostgreSQL's COPY. */
export interface CsvInputOptions {
  /** One ASCII character. Default `,`, and a tab in a file that ends in `.tsv` or `.tab`. */
  readonly delimiter?: string;
  /** One ASCII character. Default `"`. False if the file has no quotes: then every quote is a part of its value. */
  readonly quote?: string | false;
  /** The character before a quote inside quotes. Default: the quote character, so that `""` stands for one quote. */
  readonly escape?: string;
  /** The unquoted text that means NULL. Default: the empty text, so that nothing between two delimiters is NULL. */
  readonly null?: string;
  /** True if the first line holds the column names. Default true. */
  readonly header?: boolean;
  /** The number of lines before the header, or before the first row, that are not read. Default 0. */
  readonly skipLines?: number;
  /**
   * The columns of the table that the fields belong to, in the order of the file. They replace the names of the header.
   */
  readonly columns?: readonly string[];
  /** The encoding, by its name in PostgreSQL or in the Encoding Standard: `latin1`, `windows-1252`. Default UTF-8. */
  readonly encoding?: string;
}

/** `CsvInputOptions` with the defaults. */
export type CsvFormat = Required<Omit<CsvInputOptions, 'columns' | 'encoding' | 'quote'>> &
  Pick<CsvInputOptions, 'columns'> & {
    readonly encoding: Encoding;
    /** One character. For a file without quotes, the character `NO_QUOTE`. */
    readonly quote: string;
    readonly hasQuotes: boolean;
  };

/**
 * The control character U+0001, which stands for the quote in a file without quotes, because COPY needs one. The character
 * itself is put into quotes before the file is read.
 */
export const NO_QUOTE = '\u0001';

/**
 * Fills in the defaults. `tabs` says whether the default of the delimiter is a tab. Throws `EtlError` ETL-2303 if COPY
 * would refuse an option, or if the file has no header and `columns` does not name the columns either.
 */
export function parseCsvFormat(options: CsvInputOptions = {}, tabs = false): CsvFormat {
  const { delimiter = tabs ? '\t' : ',', header = true, skipLines = 0 } = options;
  const hasQuotes = options.quote !== false;
  if (!hasQuotes && options.escape !== undefined)
    throw createWrongOptionError('`csv.escape` is for quotes, but `csv.quote` is false');
  const quote = options.quote === false ? NO_QUOTE : (options.quote ?? '"');
  const encoding = parseEncoding(options.encoding);
  const given = { null: '', escape: quote, ...options };
  const format = { ...given, delimiter, quote, header, encoding, skipLines, hasQuotes };
  assertCopyAccepts(format);
  if (!header && format.columns === undefined)
    throw createWrongOptionError('a CSV file without a header needs `csv.columns`');
  return format;
}

/** Throws `EtlError` ETL-2303 for characters that COPY would refuse. */
function assertCopyAccepts(format: CsvFormat): void {
  const { delimiter, quote, hasQuotes } = format;
  for (const name of ['delimiter', 'quote', 'escape'] as const) {
    // One character that is no line break, no NUL, and below U+0080.
    if (!/^[^\r\n\0\u0080-\uffff]$/.test(format[name]))
      throw createWrongOptionError(`\`csv.${name}\` must be one ASCII character`);
  }
  if (delimiter === quote && hasQuotes)
    throw createWrongOptionError('`csv.delimiter` and `csv.quote` must differ');
  if (delimiter === quote) throw createWrongOptionError("`csv.delimiter` can't be U+0001 without quotes");
  if (/[\r\n\0]/.test(format.null) || format.null.includes(delimiter) || format.null.includes(quote))
    throw createWrongOptionError('`csv.null` must not hold the delimiter, the quote or a line break');
}

/**
 * Formats the options of a COPY that reads the format, for `with (…)`: `format csv, header true, delimiter ',', …`.
 * `header` is true if the bytes begin with a header.
 */
export function copyOptions(format: CsvFormat, header: boolean): string {
  const options = ['format csv', `header ${header}`];
  for (const name of ['delimiter', 'quote', 'escape', 'null'] as const)
    options.push(`${name} ${quoteLiteral(format[name])}`);
  // Without the option, the server would read the file in the encoding of the client.
  options.push(`encoding ${quoteLiteral(format.encoding.server ?? 'UTF8')}`);
  return options.join(', ');
}

/** Returns the bytes of the file's quotes and escapes, which are ASCII. */
export function readQuoting({ quote, escape }: CsvFormat): Quoting {
  return { quote: quote.charCodeAt(0), escape: escape.charCodeAt(0) };
}

/** Returns the encoding with this name. Throws `EtlError` ETL-2303 if it does not exist. */
function parseEncoding(name: string | undefined): Encoding {
  const encoding = findEncoding(name);
  if (encoding !== undefined) return encoding;
  throw new EtlError('ETL-2303', {
    what: `\`csv.encoding\` ${JSON.stringify(name)} is not known${didYouMean(name ?? '', listEncodingNames())}`,
    fix: 'use a name of https://encoding.spec.whatwg.org/#names-and-labels or of PostgreSQL, such as "latin1" or "windows-1252"',
  });
}

function createWrongOptionError(what: string): EtlError {
  return new EtlError('ETL-2303', { what });
}
