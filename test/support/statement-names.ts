import { loadModule, parseSync } from 'libpg-query';

/** A name in a statement that the server looks up, and how the statement writes it. */
export interface StatementName {
  readonly kind: 'function' | 'operator' | 'type' | 'table' | 'collation';
  readonly name: string;
  /** Undefined if the server looks the name up in the `search_path`. */
  readonly schema: string | undefined;
}

type Node = Readonly<Record<string, unknown>>;
type Report = (name: StatementName) => void;

/** Lists the names in a text with one or more statements. PostgreSQL's own parser reads the text. */
export async function listStatementNames(text: string): Promise<readonly StatementName[]> {
  await loadModule();
  const names: StatementName[] = [];
  visit(parseSync(text), new Set(), (name) => names.push(name));
  return names;
}

/** `ctes` are the names of the CTEs around `node`, which are no tables. */
function visit(node: unknown, ctes: ReadonlySet<string>, report: Report): void {
  if (Array.isArray(node)) for (const each of node) visit(each, ctes, report);
  if (typeof node !== 'object' || node === null || Array.isArray(node)) return;
  const known = new Set([...ctes, ...listCtes(node as Node)]);
  for (const [kind, value] of Object.entries(node as Node)) {
    if (typeof value === 'object' && value !== null) READERS[kind]?.(value as Node, report, known);
    visit(value, known, report);
  }
}

function listCtes({ withClause }: Node): readonly string[] {
  const { ctes = [] } = (withClause ?? {}) as { ctes?: { CommonTableExpr: { ctename: string } }[] };
  return ctes.map(({ CommonTableExpr }) => CommonTableExpr.ctename);
}

/** Reports the names of a node, by its kind. */
const READERS: Readonly<Record<string, (node: Node, report: Report, ctes: ReadonlySet<string>) => void>> = {
  FuncCall: ({ funcname }, report) => reportName('function', funcname, report),
  // NULLIF, IN, BETWEEN, IS DISTINCT FROM and LIKE also look up operators.
  A_Expr: ({ name }, report) => reportName('operator', name, report),
  SubLink: ({ testexpr, operName }, report) => {
    if (testexpr !== undefined) reportName('operator', operName ?? [EQUAL], report);
  },
  CaseExpr: ({ arg }, report) => {
    if (arg !== undefined) reportName('operator', [EQUAL], report);
  },
  JoinExpr: ({ usingClause, isNatural }, report) => {
    if (usingClause !== undefined || isNatural === true) reportName('operator', [EQUAL], report);
  },
  TypeName: ({ names }, report) => reportName('type', names, report),
  typeName: ({ names }, report) => reportName('type', names, report),
  CollateClause: ({ collname }, report) => reportName('collation', collname, report),
  RangeVar: reportTable,
  relation: reportTable,
};

const EQUAL = { String: { sval: '=' } };

function reportName(kind: StatementName['kind'], names: unknown, report: Report): void {
  if (!Array.isArray(names)) return;
  const parts = (names as { String: { sval: string } }[]).map(({ String }) => String.sval);
  report({ kind, name: parts.at(-1) ?? '', schema: parts.at(-2) });
}

function reportTable(
  { schemaname, relname, relpersistence }: Node,
  report: Report,
  ctes: ReadonlySet<string>,
): void {
  // A temporary table is always created in pg_temp.
  if (typeof relname !== 'string' || relpersistence === 't' || ctes.has(relname)) return;
  report({ kind: 'table', name: relname, schema: schemaname as string | undefined });
}
