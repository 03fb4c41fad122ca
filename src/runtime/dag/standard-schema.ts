/**
 * The part of Standard Schema, version 1, that validates params: https://standardschema.dev. Many libraries implement
 * it, such as Zod, Valibot and ArkType.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': StandardProperties<Input, Output>;
}

/** The property `~standard` of a schema. */
interface StandardProperties<Input, Output> {
  readonly version: 1;
  /** The name of the library. */
  readonly vendor: string;
  /** Validates a value. A wrong value gives issues and throws no error. */
  readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
  /** The types of the schema, for the compiler only. The property has no value at run time. */
  readonly types?: { readonly input: Input; readonly output: Output } | undefined;
}

/** The result of a validation: either a value or issues, never both. */
export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] };

/** A reason why a schema refuses a value. */
export interface SchemaIssue {
  readonly message: string;
  /** The keys that lead to the wrong part, the outermost first. Absent or empty if the whole value is wrong. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** The type of the values that a schema accepts. */
export type InferInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input'];

/** The type of the values that a schema returns. */
export type InferOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output'];
