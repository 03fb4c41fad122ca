import type { FieldDef, QueryResult } from 'pg';
import { EtlError, type ErrorCode } from '../../errors.js';
import type { TaskConnection } from '../postgres/task-connection.js';

/** The alias of a query. It has a space so that no column of a user has the same name by accident. */
export const ROWS = '"etl rows"';

/** A column in the result of a query. */
export interface OutputColumn {
  readonly name: string;
  /** The OID of the type. */
  readonly oid: number;
  /** The modifier of the type, such as the packed precision and scale of a numeric. -1 if the type has none. */
  readonly modifier: number;
}

/**
 * Returns the columns of a query. Sends the query with `limit 0`, for which the server computes no row. Throws an
 * `EtlError` with the code and the data of `refusal` if two columns have the same name, because one of them would be lost.
 */
export async function describeQuery(
  taskConnection: TaskConnection,
  query: string,
  refusal: { readonly code: ErrorCode; readonly data: string },
): Promise<readonly OutputColumn[]> {
  const { fields } = (await taskConnection.query({
    text: `select * from (${query}\n) ${ROWS} limit 0`,
    values: [],
  })) as QueryResult;
  const columns = fields.map(({ name, dataTypeID, dataTypeModifier }: FieldDef) => ({
    name,
    oid: dataTypeID,
    modifier: dataTypeModifier,
  }));
  const names = columns.map(({ name }) => name);
  // The first name that occurred before: `indexOf` then finds an earlier index.
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return columns;
  throw new EtlError(refusal.code, {
    what: `two columns of the query are named "${twice}"`,
    fix: 'give one of them another name: `select a.id, b.id as b_id …`',
    data: refusal.data,
  });
}
