import { giveBack } from '../../hooks/chunks.js';
import { createCodec } from './codec.js';
import { createInvalidBytesError } from './decode.js';
import type { Encoding } from './encodings.js';

/** A byte that is not valid in UTF-8. */
const NOT_UTF8 = Buffer.from([0xff]);

/** The options for transcoding a file. */
export interface Transcoding {
  /** The name of the file, for messages. */
  readonly name: string;
  readonly encoding: Encoding;
  /**
   * True: bytes that are not valid become a byte that is not valid in UTF-8, so that the server refuses the row. False:
   * they are an error.
   */
  readonly keepsInvalid: boolean;
}

/**
 * Converts the chunks of a file to UTF-8, for a server that does not know the encoding. Throws `EtlError` ETL-3554 for
 * invalid bytes, unless `keepsInvalid` is true.
 */
export async function* transcode(
  chunks: AsyncIterable<Buffer>,
  { name, encoding, keepsInvalid }: Transcoding,
): AsyncGenerator<Buffer> {
  const codec = createCodec(encoding);
  let offset = 0;
  const encode = (text: string): Buffer => {
    if (codec.findInvalid(text) === -1) return Buffer.from(text);
    if (!keepsInvalid) throw createInvalidBytesError(name, encoding.name, { after: offset });
    const parts = text.split(codec.invalid);
    return Buffer.concat(
      parts.flatMap((part, i) => (i === 0 ? [Buffer.from(part)] : [NOT_UTF8, Buffer.from(part)])),
    );
  };
  for await (const chunk of chunks) {
    const bytes = encode(codec.write(chunk));
    offset += chunk.length;
    giveBack(chunk);
    if (bytes.length > 0) yield bytes;
  }
  const rest = encode(codec.end());
  if (rest.length > 0) yield rest;
}
