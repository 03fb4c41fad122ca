import { addCallStack } from './failed-statement.js';

/**
 * Returns the error that a library has got from `session.pg`, for an error that the library made of it. Returns `thrown`
 * itself for every other error. `reported` are the last errors that clients of `session.pg` have reported.
 *
 * - Drizzle: the cause. The message of Drizzle's own error is the statement with its values, which can be row data.
 * - Prisma: the error of `reported` whose message Prisma's error contains, because Prisma keeps no cause.
 */
export function unwrapLibraryError(thrown: Error, reported: readonly Error[]): Error {
  const { cause, query, params } = thrown as Error & { readonly query?: unknown; readonly params?: unknown };
  if (cause instanceof Error && typeof query === 'string' && Array.isArray(params)) return cause;
  if (!/^PrismaClient\w*Error$/.test(thrown.name)) return thrown;
  const original = reported.find(({ message }) => message !== '' && describesMessage(thrown, message));
  if (original === undefined) return thrown;
  // The code between Prisma and pg hides the code that called Prisma from the stack of `original`.
  if (thrown.stack !== undefined) addCallStack(original, thrown.stack);
  return original;
}

/** Returns true if an error of Prisma contains the message, in its own message or in the error of its adapter. */
function describesMessage(thrown: Error, message: string): boolean {
  if (thrown.message.includes(message)) return true;
  const { meta } = thrown as {
    readonly meta?: {
      readonly driverAdapterError?: { readonly cause?: { readonly originalMessage?: unknown } };
    };
  };
  return meta?.driverAdapterError?.cause?.originalMessage === message;
}
