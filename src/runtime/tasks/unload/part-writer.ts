import { giveBack } from '../../../hooks/chunks.js';
import type { OutputFile } from './output-file.js';
import type { OutputFiles } from './output-files.js';
import type { Part } from './layout.js';
import type { RecordSplitter } from './record-splitter.js';
import type { RowWriter } from './writer.js';

export interface PartWriterOptions {
  readonly files: OutputFiles;
  readonly createWriter: (file: OutputFile) => Promise<RowWriter>;
  /** Undefined: chunks go to the one file as they come. */
  readonly splitter: RecordSplitter | undefined;
  /** Whether there is a file where there are no rows. */
  readonly mayBeEmpty: boolean;
}

const WHOLE: Part = { number: 1, value: null };

/** Writes what a COPY sends to one file after the other; one is open at a time. */
export class PartWriter {
  readonly #options: PartWriterOptions;
  #file: OutputFile | undefined;
  #writer: RowWriter | undefined;

  constructor(options: PartWriterOptions) {
    this.#options = options;
  }

  /** Gives the chunk back where there is no splitter. */
  async write(chunk: Buffer): Promise<void> {
    const { splitter } = this.#options;
    if (splitter === undefined) return (await this.#openCurrent()).write(chunk, giveBack);
    for (const { part, bytes } of splitter.take(chunk)) {
      const writer = part === undefined ? await this.#openCurrent() : await this.#open(part);
      await writer.write(bytes);
    }
  }

  /** When it returns, every file is complete and on the disk. */
  async end(): Promise<void> {
    if (this.#options.mayBeEmpty) await this.#openCurrent();
    await this.#close();
  }

  /** Lets go of the file that is open. */
  abandon(): void {
    this.#writer?.abandon();
  }

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
