import { EtlError } from '../errors.js';

/** A definition of a connection as it was found: a URI or JSON, not parsed, and full of secrets. */
export interface ConnectionDefinition {
  readonly id: string;
  readonly definedBy: string;
  readonly text: string;
}

/** What is wrong with a definition. Written by us, never taken from the definition. */
export interface DefinitionFault {
  /** From 0, in characters of the text without surrounding white space. */
  readonly index?: number;
  /** One of Airflow's field names. */
  readonly field?: string;
  readonly why: string;
  readonly fix: string;
}

/**
 * The error for a definition that can't be read. It has neither the text nor a part of it, and no `cause`:
 * the errors of `JSON.parse` and `new URL` quote their input.
 */
export function createMalformedError(definition: ConnectionDefinition, fault: DefinitionFault): EtlError {
  const { id, definedBy } = definition;
  const index = fault.index === undefined ? '' : `, column ${fault.index + 1}`;
  const field = fault.field === undefined ? '' : `, field "${fault.field}"`;
  return new EtlError('ETL-2201', {
    what: `Connection "${id}" is malformed.`,
    where: `${definedBy}${field}${index}`,
    why: fault.why,
    fix: fault.fix,
  });
}

/** The URI form, for advice. */
export const URI_FORM = 'postgres://<login>:<password>@<host>:5432/<database>?sslmode=require';
