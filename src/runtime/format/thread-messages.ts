import { type ErrorCode, type ErrorParts, EtlError } from '../../errors.js';
import type { ReadOptions } from './input-rows.js';
import type { SourceColumn } from './row-reader.js';

/** What the thread is to do. */
export interface ThreadOrder {
  readonly input: { readonly name: string; readonly path?: string; readonly bytes?: number };
  readonly options: ReadOptions & { readonly columns?: readonly string[] };
  /** A URL, as a URL can't be sent. */
  readonly module: string;
  readonly exportName: string;
}

/** What the thread is told. */
export type ToThread =
  /** The next part of the input; undefined at its end. */
  | { readonly type: 'chunk'; readonly bytes: Uint8Array | undefined }
  /** The columns are known: go on, with these of them as JSON. */
  | { readonly type: 'encode'; readonly json: readonly string[] | undefined }
  /** A part of what it wrote was taken: there is room for another. */
  | { readonly type: 'taken' };

/** What the thread tells. */
export type FromThread =
  /** There is room for a part of the input. */
  | { readonly type: 'pull' }
  | { readonly type: 'columns'; readonly columns: readonly SourceColumn[] | undefined }
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  | { readonly type: 'end' }
  | { readonly type: 'error'; readonly error: SentError };

/** An error on its way between threads, which keep neither its class nor its properties. */
export interface SentError {
  readonly code: ErrorCode | undefined;
  readonly parts: ErrorParts;
  readonly stack: string | undefined;
}

/** What is sent of an error. */
export function sentError(error: unknown): SentError {
  if (error instanceof EtlError) {
    const { code, message, where, why, fix, stack } = error;
    return { code, parts: { what: message, where, why, fix }, stack };
  }
  const isError = error instanceof Error;
  return {
    code: undefined,
    parts: { what: isError ? error.message : String(error) },
    stack: isError ? error.stack : undefined,
  };
}

/** The error that was sent. */
export function receivedError({ code, parts, stack }: SentError): Error {
  const error = code === undefined ? new Error(parts.what) : new EtlError(code, parts);
  if (stack !== undefined) error.stack = stack;
  return error;
}
