import { giveBack } from '../../../hooks/chunks.js';
import type { OutputFile } from './output-file.js';
import type { OutputFiles } from './output-files.js';
import type { Part } from './layout.js';
import type { RecordSplitter } from './record-splitter.js';
import type { RowWriter } from './writer.js';

/** What a `PartWriter` works with. */
export interface PartWriterOptions {
  readonly files: OutputFiles;
  /** Creates the writer of one file. */
  readonly createWriter: (file: OutputFile) => Promise<RowWriter>;
  /** Splits the chunks into records. Undefined if the chunks go unchanged to a single file. */
  readonly splitter: RecordSplitter | undefined;
  /** True if an unload without a row writes an empty file. */
  readonly mayBeEmpty: boolean;
}

/** The part of an unload without rows, or with a single file. */
const WHOLE: Part = { number: 1, value: null };

/** Writes the output of a COPY to one file after the other. Only one file is open at a time. */
export class PartWriter {
  readonly #options: PartWriterOptions;
  #file: OutputFile | undefined;
  #writer: RowWriter | undefined;

  constructor(options: PartWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes a chunk of the COPY. Without a splitter, calls `giveBack` with the chunk when it is written.
   */
  async write(chunk: Buffer): Promise<void> {
    const { splitter } = this.#options;
    if (splitter === undefined) return (await this.#openCurrent()).write(chunk, giveBack);
    for (const { part, bytes } of splitter.take(chunk)) {
      const writer = part === undefined ? await this.#openCurrent() : await this.#open(part);
      await writer.write(bytes);
    }
  }

  /** Closes the last file. Resolves when every file is complete and on the disk. */
  async end(): Promise<void> {
    if (this.#options.mayBeEmpty) await this.#openCurrent();
    await this.#close();
  }

  /** Releases the writer of the open file. */
  abandon(): void {
    this.#writer?.abandon();
  }

  /** Returns the writer of the open file. Opens the first file if none is open. */
  async #openCurrent(): Promise<RowWriter> {
    return this.#writer ?? (await this.#open(WHOLE));
  }

  async #open(part: Part): Promise<RowWriter> {
    await this.#close();
    const { files, createWriter: writerFor, splitter } = this.#options;
    this.#file = await files.create(part);
    const writer = await writerFor(this.#file);
    this.#writer = writer;
    const header = splitter?.header ?? Buffer.alloc(0);
    if (header.length > 0) await writer.write(header);
    return writer;
  }

  async #close(): Promise<void> {
    await this.#writer?.end();
    await this.#file?.close();
    this.#writer = this.#file = undefined;
  }
}
