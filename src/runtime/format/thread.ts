import { Worker } from 'node:worker_threads';
import type { InputFile } from '../input/input.js';
import { Mailbox } from './mailbox.js';
import type { EncodedRows } from './row-encoding.js';
import type { TransformModule } from './transform-module.js';
import type { ReadOptions } from './input-rows.js';
import { receivedError, type FromThread, type ThreadOrder, type ToThread } from './thread-messages.js';

/** What the thread can be told of the rows. */
export interface ThreadOptions extends ReadOptions {
  readonly transform: TransformModule;
  readonly columns?: readonly string[];
}

/**
 * As `encodedRows`, with parsing, transform and encoding in a thread of their own: the event loop stays free, and the
 * work is done beside that of the server's. The thread is started for one input (some 40 ms and 40 MB) and ends with it.
 */
export async function threadRows(
  input: InputFile,
  { transform, ...options }: ThreadOptions,
): Promise<EncodedRows | undefined> {
  const { name, path, bytes } = input;
  const order: ThreadOrder = {
    input: { name, ...(path === undefined ? {} : { path }), ...(bytes === undefined ? {} : { bytes }) },
    options,
    module: transform.module.href,
    exportName: transform.name ?? 'default',
  };
  const thread = new Thread(input, order);
  try {
    const first = await thread.next();
    const columns = first.type === 'columns' ? first.columns : undefined;
    if (columns === undefined) {
      await thread.end();
      return undefined;
    }
    return {
      name,
      columns,
      chunks: (json) => thread.chunks(json),
      [Symbol.asyncDispose]: () => thread.end(),
    };
  } catch (error) {
    await thread.end();
    throw error;
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #messages = new Mailbox<FromThread>();
  readonly #source: AsyncIterator<Buffer>;
  /** Each part of the input is asked for when the one before it was sent. */
  #feeding: Promise<void> = Promise.resolve();

  constructor(input: InputFile, order: ThreadOrder) {
    this.#source = input.chunks()[Symbol.asyncIterator]();
    this.#worker = new Worker(new URL('./transform-thread.cjs', import.meta.url), { workerData: order });
    this.#worker.on('message', (message: FromThread) => {
      if (message.type === 'pull') this.#feeding = this.#feeding.then(() => this.#feed());
      else if (message.type === 'error') this.#messages.fail(receivedError(message.error));
      else this.#messages.put(message);
    });
    this.#worker.on('error', (error) => this.#messages.fail(error));
    this.#worker.on('exit', () =>
      this.#messages.fail(new Error('the thread of `transform` has ended early')),
    );
  }

  next(): Promise<FromThread> {
    return this.#messages.take();
  }

  async *chunks(json: readonly string[] | undefined): AsyncGenerator<Buffer> {
    this.#tell({ type: 'encode', json });
    try {
      for (let message = await this.next(); message.type === 'bytes'; message = await this.next()) {
        const { bytes } = message;
        yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        this.#tell({ type: 'taken' });
      }
    } finally {
      await this.end();
    }
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.#source.return?.();
  }

  async #feed(): Promise<void> {
    try {
      const next = await this.#source.next();
      // A copy: what is sent is gone, and the chunk may be that of whoever gave it.
      const bytes = next.done === true ? undefined : new Uint8Array(next.value);
      this.#tell({ type: 'chunk', bytes }, bytes === undefined ? [] : [bytes.buffer]);
    } catch (error) {
      this.#messages.fail(error);
    }
  }

  #tell(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}
