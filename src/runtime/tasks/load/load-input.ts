import type { Transform } from '../../format/transform.js';
import type { Compression, Input } from '../../input/input.js';
import type { SchemaContract } from './contract.js';
import type { CsvInputOptions } from './csv-format.js';
import type { RejectOptions } from './rejects.js';
import type { WriteTarget, Written } from '../../table/write-target.js';
import type { FileFormat } from '../../format/row-reader.js';
import type { TaskContext } from '../task-context.js';

/** What a load task reads, and the table that it goes to. */
export interface LoadSource<Context = TaskContext> extends WriteTarget {
  /**
   * A path from the directory of the config, a glob, a URL, or a list of these; a stream; rows in an array or an
   * iterable. Or a function that gives one of them, which is called once an attempt: a stream can be read only once.
   */
  readonly from: Input | ((context: Context) => Input | Promise<Input>);
  /** Default: by the end of the name, and CSV where that says nothing. */
  readonly format?: FileFormat;
  /** Default: by the end of the name. */
  readonly compression?: Compression;
  /** Called for each row; returns the row for the table, several, or undefined to leave it out. */
  readonly transform?: Transform;
  /** How a CSV file is written. */
  readonly csv?: CsvInputOptions;
  /** Makes the table where there is none, of the types that the data has, with `key` as its primary key. */
  readonly create?: boolean;
  /** What happens where data and table have other columns or types. Default `freeze`: it is an error. */
  readonly schema?: SchemaContract;
  /** Puts rows that do not fit aside, instead of failing at the first. */
  readonly rejects?: RejectOptions;
}

/** What a load task gives to the tasks that need it. */
export interface LoadResult extends Written {
  /** Rows that did not fit and were put aside. */
  readonly rejected: number;
  /** Bytes that were sent to the server. */
  readonly bytes: number;
  /** Inputs that were read; those without a row, too. */
  readonly files: number;
}
