import { EtlError } from '../../errors.js';

/** A value, the name that the user gave it under, and where that is. */
export interface Setting {
  readonly text: string;
  readonly name: string;
  readonly where: string;
}

/** The error for a value that makes no sense. It does not show the value: nothing says that it is no secret. */
export function badValue({ name, where }: Omit<Setting, 'text'>, why: string, fix: string): EtlError {
  return new EtlError('ETL-2206', { what: `The value of "${name}" can't be used.`, where, why, fix });
}
