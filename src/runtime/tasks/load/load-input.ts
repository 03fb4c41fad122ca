import type { Transform } from '../../format/transform.js';
import type { Compression, Input } from '../../input/input.js';
import type { SchemaContract } from './contract.js';
import type { CsvInputOptions } from './csv-format.js';
import type { RejectOptions } from './rejects.js';
import type { WriteTarget, Written } from '../../table/write-target.js';
import type { FileFormat } from '../../format/row-reader.js';
import type { TaskContext } from '../task-context.js';

/** The options of a load task that say what it reads, and the table that it writes. */
export interface LoadSource<Context = TaskContext> extends WriteTarget {
  /**
   * The input: a path relative to the directory of the config file, a glob, a URL, or a list of these; a stream; or
   * rows in an array or an iterable. It can also be a function that returns the input. The function is called once an
   * attempt, so a retry gets a new stream.
   */
  readonly from: Input | ((context: Context) => Input | Promise<Input>);
  /** The format of the input. Default: the format of the file's extension, or CSV if the extension is not known. */
  readonly format?: FileFormat;
  /** The compression of the input. Default: the compression of the file's extension, such as `.gz`. */
  readonly compression?: Compression;
  /** Called for each row. Returns the row for the table, an array of rows, or undefined to leave the row out. */
  readonly transform?: Transform;
  /** The format of CSV files. */
  readonly csv?: CsvInputOptions;
  /** Creates the table if it does not exist, with the types of the data and with `key` as its primary key. */
  readonly create?: boolean;
  /**
   * The reaction to data whose columns or types differ from the columns and types of the table. Default `freeze`: the
   * load fails.
   */
  readonly schema?: SchemaContract;
  /** Puts aside the rows that the server refuses. Default: the first refused row fails the load. */
  readonly rejects?: RejectOptions;
}

/** The result of a load task, for the tasks that need it. */
export interface LoadResult extends Written {
  /** The number of refused rows that were put aside. */
  readonly rejected: number;
  /** The number of bytes that were sent to the server. */
  readonly bytes: number;
  /** The number of inputs that were read, including inputs without a row. */
  readonly files: number;
}
