import { parentPort, workerData } from 'node:worker_threads';
import { giveBack } from '../../hooks/chunks.js';
import { diskChunks } from '../input/disk.js';
import type { InputFile } from '../input/input.js';
import { withoutMark } from '../input/byte-order-mark.js';
import { encodeRows } from './row-encoding.js';
import { Mailbox } from './mailbox.js';
import { sentError, type FromThread, type ThreadOrder, type ToThread } from './thread-messages.js';
import { importTransform } from './transform-module.js';

// Parses, transforms and encodes beside the main thread, which sends the bytes of the input and takes those for COPY.

/** Parts of the input that may be on their way here. */
const AHEAD = 2;
/** Parts for COPY that the main thread may not have taken yet. */
const WINDOW = 8;

const order = workerData as ThreadOrder;
const chunks = new Mailbox<Uint8Array | undefined>();
const answers = new Mailbox<readonly string[] | undefined>();
const room = new Mailbox<void>();

parentPort?.on('message', (message: ToThread) => {
  if (message.type === 'chunk') chunks.put(message.bytes);
  else if (message.type === 'encode') answers.put(message.json);
  else room.put();
});

work()
  .catch((error: unknown) => tell({ type: 'error', error: sentError(error) }))
  .finally(() => parentPort?.close());

async function work(): Promise<void> {
  const transform = await importTransform({ module: new URL(order.module), name: order.exportName });
  const input: InputFile = { ...order.input, chunks: inputChunks };
  const rows = await encodeRows(input, { ...order.options, transform });
  tell({ type: 'columns', columns: rows?.columns });
  if (rows === undefined) return;
  const json = await answers.take();
  for (let i = 0; i < WINDOW; i++) room.put();
  for await (const chunk of rows.chunks(json)) {
    await room.take();
    const bytes = new Uint8Array(chunk);
    giveBack(chunk);
    tell({ type: 'bytes', bytes }, [bytes.buffer]);
  }
  tell({ type: 'end' });
}

/**
 * A file that is on the disk as it is need not go through the main thread, which has so little else to do that it would
 * rarely collect what is left of it. The main thread ends this one when the task is stopped.
 */
function inputChunks(): AsyncIterable<Buffer> {
  const { name, path } = order.input;
  if (path === undefined) return pulledChunks();
  const { signal } = new AbortController();
  return withoutMark(diskChunks(path, name, signal), signal);
}

async function* pulledChunks(): AsyncGenerator<Buffer> {
  for (let i = 0; i < AHEAD; i++) tell({ type: 'pull' });
  for (let bytes = await chunks.take(); bytes !== undefined; bytes = await chunks.take()) {
    tell({ type: 'pull' });
    yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

function tell(message: FromThread, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}
