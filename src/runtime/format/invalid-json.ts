import { describeThrown, type ErrorParts } from '../../errors.js';

/**
 * Describes an error of `JSON.parse` for a report. Some messages of V8 quote the text around the error, which can be values
 * of rows: `Unexpected token 'x', "{"id": x}" is not valid JSON`. Such a message is in `rowData` only. The others name a
 * position and no text.
 */
export function describeInvalidJson(error: unknown): Required<Pick<ErrorParts, 'why' | 'rowData'>> {
  const message = describeThrown(error);
  if (!message.endsWith('is not valid JSON')) return { why: message, rowData: undefined };
  return { why: 'the text is not valid JSON', rowData: message };
}
