import { TextDecoder } from 'node:util';
import { EtlError } from '../../../errors.js';
import type { Quoting } from '../../format/record-ends.js';
import { quoteLiteral } from '../../sql/quote.js';

/** The format of a CSV file. The defaults are those of PostgreSQL's COPY. */
export interface CsvInputOptions {
  /** One ASCII character. Default `,`. */
  readonly delimiter?: string;
  /** One ASCII character. Default `"`. */
  readonly quote?: string;
  /** The character before a quote inside quotes. Default: the quote character, so that `""` stands for one quote. */
  readonly escape?: string;
  /** The unquoted text that means NULL. Default: the empty text, so that nothing between two delimiters is NULL. */
  readonly null?: string;
  /** True if the first line holds the column names. Default true. */
  readonly header?: boolean;
  /**
   * The columns of the table that the fields belong to, in the order of the file. They replace the names of the header.
   */
  readonly columns?: readonly string[];
  /**
   * An encoding whose name both the Encoding Standard and PostgreSQL know: `latin1`, `windows-1252`, `shift_jis`.
   * Default UTF-8.
   */
  readonly encoding?: string;
}

/** `CsvInputOptions` with the defaults. */
export type CsvFormat = Required<Omit<CsvInputOptions, 'columns' | 'encoding'>> &
  Pick<CsvInputOptions, 'columns' | 'encoding'>;

/**
 * Fills in the defaults. Throws `EtlError` ETL-2303 if COPY would refuse an option, or if the file has no header and
 * `columns` does not name the columns either.
 */
export function parseCsvFormat(options: CsvInputOptions = {}): CsvFormat {
  const { delimiter = ',', quote = '"', header = true, columns } = options;
  const format = { null: '', escape: quote, ...options, delimiter, quote, header };
  for (const name of ['delimiter', 'quote', 'escape'] as const) {
    // One character that is no line break, no NUL, and below U+0080.
    if (!/^[^\r\n\0\u0080-\uffff]$/.test(format[name]))
      throw createWrongOptionError(`\`csv.${name}\` must be one ASCII character`);
  }
  if (delimiter === quote) throw createWrongOptionError('`csv.delimiter` and `csv.quote` must differ');
  if (/[\r\n\0]/.test(format.null) || format.null.includes(delimiter) || format.null.includes(quote))
    throw createWrongOptionError('`csv.null` must not hold the delimiter, the quote or a line break');
  if (!header && columns === undefined)
    throw createWrongOptionError('a CSV file without a header needs `csv.columns`');
  createTextDecoder(format.encoding); // Throws if the encoding does not exist.
  return format;
}

/**
 * Formats the options of a COPY that reads the format, for `with (…)`: `format csv, header true, delimiter ',', …`.
 * `header` is true if the bytes begin with a header.
 */
export function copyOptions(format: CsvFormat, header: boolean): string {
  const options = ['format csv', `header ${header}`];
  for (const name of ['delimiter', 'quote', 'escape', 'null'] as const)
    options.push(`${name} ${quoteLiteral(format[name])}`);
  if (format.encoding !== undefined) options.push(`encoding ${quoteLiteral(format.encoding)}`);
  return options.join(', ');
}

/** Returns the bytes of the file's quotes and escapes, which are ASCII. */
export function readQuoting({ quote, escape }: CsvFormat): Quoting {
  return { quote: quote.charCodeAt(0), escape: escape.charCodeAt(0) };
}

/**
 * Creates a decoder that throws a `TypeError` for bytes that are not valid. Throws `EtlError` ETL-2303 if the encoding does
 * not exist.
 */
export function createTextDecoder(encoding = 'utf-8'): TextDecoder {
  try {
    return new TextDecoder(encoding, { fatal: true });
  } catch (error) {
    throw new EtlError('ETL-2303', {
      what: `\`csv.encoding\` ${JSON.stringify(encoding)} is not known`,
      fix: 'use a name of https://encoding.spec.whatwg.org/#names-and-labels that PostgreSQL knows too, such as "latin1" or "windows-1252"',
      cause: error,
    });
  }
}

function createWrongOptionError(what: string): EtlError {
  return new EtlError('ETL-2303', { what });
}
