/**
 * The part of Standard Schema, version 1, that is needed to validate params with any library that implements it
 * (Zod, Valibot, ArkType, …): https://standardschema.dev.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': StandardProperties<Input, Output>;
}

/** What a schema tells about itself under `~standard`. */
interface StandardProperties<Input, Output> {
  readonly version: 1;
  /** The name of the library. */
  readonly vendor: string;
  /** Never throws for a value that does not fit: that gives issues. */
  readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
  /** For the compiler only: it has no value at run time. */
  readonly types?: { readonly input: Input; readonly output: Output } | undefined;
}

/** Either a value or issues, never both. */
export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] };

/** Why a value does not fit. */
export interface SchemaIssue {
  readonly message: string;
  /** From the outside inwards; absent or empty for the value as a whole. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema accepts. */
export type InferInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input'];

/** What a schema makes of it. */
export type InferOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output'];
