import { EtlError } from '../errors.js';

/** A definition of a connection that is not parsed yet: `text` is a URI or JSON and can have secrets. */
export interface ConnectionDefinition {
  readonly id: string;
  readonly definedBy: string;
  readonly text: string;
}

/** A fault in a definition. The texts never quote the definition. */
export interface DefinitionFault {
  /** The position of the error in the trimmed text, in UTF-16 code units, counted from 0. */
  readonly index?: number;
  /** The field with the error, by Airflow's name. */
  readonly field?: string;
  readonly why: string;
  readonly fix: string;
}

/**
 * Creates an ETL-2201 for a definition that can't be parsed. The error quotes no part of the definition. It has no
 * `cause`, because the errors of `JSON.parse` and `new URL` quote their input.
 */
export function createMalformedError(definition: ConnectionDefinition, fault: DefinitionFault): EtlError {
  const { id, definedBy } = definition;
  const index = fault.index === undefined ? '' : `, column ${fault.index + 1}`;
  const field = fault.field === undefined ? '' : `, field "${fault.field}"`;
  return new EtlError('ETL-2201', {
    what: `connection "${id}" is malformed`,
    where: `${definedBy}${field}${index}`,
    why: fault.why,
    fix: fault.fix,
  });
}

/** The form of a PostgreSQL URI, for the `fix` of errors. */
export const URI_FORM = 'postgres://<login>:<password>@<host>:5432/<database>?sslmode=require';
