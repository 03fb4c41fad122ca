import { giveBack } from '../../../hooks/chunks.js';
import type { OutputFile } from './output-file.js';
import type { OutputFiles } from './output-files.js';
import type { Part } from './layout.js';
import type { RecordSplitter } from './record-splitter.js';
import type { RowWriter } from './writer.js';

/** The options for writing the output of a COPY to files. */
export interface PartOptions {
  /** Creates the writer of one file. */
  readonly createWriter: (file: OutputFile) => Promise<RowWriter>;
  /** Splits the chunks into records. Undefined if the chunks go unchanged to a single file. */
  readonly splitter: RecordSplitter | undefined;
  /** True if an unload without a row writes an empty file. */
  readonly mayBeEmpty: boolean;
}

/** The part of an unload without rows, or with a single file. */
const WHOLE: Part = { number: 1, value: null };

/**
 * Writes the chunks of a COPY to one file after the other. Only one file is open at a time.
 *
 * - Without a splitter, all chunks go unchanged to one file. Calls `giveBack` with each chunk when it is written.
 * - With a splitter, opens a new file for each part that the splitter begins, and writes the header to it.
 *
 * Resolves when every file is complete and on the disk. If it rejects, the last file stays open: the caller discards it.
 */
export async function writeParts(
  chunks: AsyncIterable<Buffer>,
  files: OutputFiles,
  { createWriter, splitter, mayBeEmpty }: PartOptions,
): Promise<void> {
  const current: { file?: OutputFile; writer?: RowWriter } = {};
  /** Completes and closes the current file, if there is one. */
  const close = async (): Promise<void> => {
    await current.writer?.end();
    await current.file?.close();
    delete current.writer;
    delete current.file;
  };
  /** Closes the current file, and creates the file of `part` with the header. */
  const open = async (part = WHOLE): Promise<RowWriter> => {
    await close();
    current.file = await files.create(part);
    const writer = (current.writer = await createWriter(current.file));
    if (splitter !== undefined && splitter.header.length > 0) await writer.write(splitter.header);
    return writer;
  };
  try {
    for await (const chunk of chunks) {
      if (splitter === undefined) await (current.writer ?? (await open())).write(chunk, giveBack);
      else
        for (const { part, bytes } of splitter.take(chunk)) {
          const writer = part === undefined ? current.writer : await open(part);
          await (writer ?? (await open())).write(bytes);
        }
    }
    if (mayBeEmpty && current.writer === undefined) await open();
    await close();
  } catch (error) {
    current.writer?.abandon?.();
    throw error;
  }
}
