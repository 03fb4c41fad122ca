/**
 * A text as an SQL constant that means exactly these characters, whatever `standard_conforming_strings` is. For what a
 * statement takes no parameters for: a value of a query is bound.
 */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return quoted.includes('\\') ? ` E${quoted}` : quoted;
}
