import type { FileMetaData, SchemaElement, SchemaTree } from 'hyparquet';
import { EtlError } from '../../errors.js';
import type { JsonRowForm } from './json-row.js';
import {
  type ColumnReading,
  type ValueReader,
  chooseLeafReading,
  classify,
  needsStoredValue,
  toJsonReader,
} from './parquet-value.js';

/** A column of a Parquet file. */
export interface ParquetReading extends ColumnReading {
  readonly name: string;
  /** The name under which hyparquet returns the column. */
  readonly key: string;
  /** True if the values are JSON texts. */
  readonly isJson: boolean;
}

/** A part of a schema with the key under which hyparquet returns it. */
interface Node {
  readonly key: string;
  readonly element: SchemaElement;
  readonly children: readonly Node[];
  /** The form in which hyparquet returns the part. `list` is an array of items, without the groups of the list. */
  readonly shape: 'list' | 'as stored';
}

/** The readers of a part of a schema: for the value of a column, and for a value inside of JSON. */
interface NodeReading extends ColumnReading {
  readonly readJson: ValueReader;
}

/** A schema, and the metadata with which hyparquet reads the file. */
export interface PreparedSchema {
  readonly columns: readonly ParquetReading[];
  readonly metadata: FileMetaData;
}

/**
 * Chooses how each column of a Parquet file is read, by its logical type:
 * https://github.com/apache/parquet-format/blob/master/LogicalTypes.md.
 *
 * - A simple value gets the type of `chooseLeafReading`.
 * - A list of simple values becomes an array of this type.
 * - Other lists, maps and structs become `jsonb`.
 *
 * hyparquet gets keys instead of names, because it stores structs in objects: a field `__proto__` would disappear, and of
 * two columns of one name one would be lost. It gets no map, because it stores the keys of a map as properties.
 *
 * Throws `EtlError` ETL-3503 if two columns or two fields of a struct have the same name, and ETL-3557 for a type that
 * can't be read.
 */
export function prepareSchema(
  file: string,
  tree: SchemaTree,
  metadata: FileMetaData,
  form: JsonRowForm,
): PreparedSchema {
  let count = 0;
  const elements: SchemaElement[] = [];
  const paths: string[][] = [];
  const visit = (part: SchemaTree, path: readonly string[]): Node => {
    const key = `c${count++}`;
    const own = path.length === 0 && elements.length === 0 ? [] : [...path, key];
    const shape = isHyparquetList(part) ? 'list' : 'as stored';
    elements.push(toHyparquet(part, key, shape));
    const children = part.children.map((child) => visit(child, own));
    if (children.length === 0) paths.push(own);
    return { key, element: part.element, children, shape };
  };
  const root = visit(tree, []);
  assertDifferent(file, 'schema', root);
  const columns = root.children.map((node): ParquetReading => {
    const { name } = node.element;
    const reader = new SchemaReader({ file, column: name, form });
    const { type, read } = reader.choose(node);
    return { name, key: node.key, type, read, isJson: classify(node.element) === 'JSON' };
  });
  const groups = metadata.row_groups.map((group) => ({
    ...group,
    columns: group.columns.map((chunk, index) =>
      chunk.meta_data === undefined
        ? chunk
        : { ...chunk, meta_data: { ...chunk.meta_data, path_in_schema: paths[index] ?? [] } },
    ),
  }));
  return { columns, metadata: { ...metadata, schema: elements, row_groups: groups } };
}

/** Returns the element as hyparquet gets it: with a key as its name, and without conversions that lose a part of a value. */
function toHyparquet({ element, children }: SchemaTree, key: string, shape: Node['shape']): SchemaElement {
  if (shape === 'list') return { ...element, name: key, converted_type: 'LIST' };
  if (children.length === 0 && !needsStoredValue(element)) return { ...element, name: key };
  const { converted_type: _converted, logical_type: _logical, ...stored } = element;
  return { ...stored, name: key };
}

function isList({ converted_type, logical_type }: SchemaElement): boolean {
  return converted_type === 'LIST' || logical_type?.type === 'LIST';
}

/** Says whether a column is a map, in the notation of today or in an older one. */
function isMap({ converted_type, logical_type }: SchemaElement): boolean {
  return converted_type === 'MAP' || converted_type === 'MAP_KEY_VALUE' || logical_type?.type === 'MAP';
}

/**
 * Says whether hyparquet reads the part as an array of the list's items. Programs write three forms of a list:
 *
 * - today, three levels: the list, a repeated group, and the item as the only child of the group
 * - formerly, two levels: the list, and the repeated item itself, which has no child or several children
 * - formerly: the same, with an item that is a struct of one field. The group is then named `array` or `…_tuple`.
 */
function isHyparquetList({ element, children }: SchemaTree): boolean {
  const [repeated, ...others] = children;
  if (!isList(element) || element.repetition_type === 'REPEATED') return false;
  if (repeated === undefined || others.length > 0) return false;
  if (repeated.element.repetition_type !== 'REPEATED' || repeated.children.length > 1) return false;
  return repeated.children.length === 0 || !isItemItself(element, repeated.element);
}

/** Says whether the repeated group of a list is the item, and not a group around the item. */
function isItemItself(list: SchemaElement, { name }: SchemaElement): boolean {
  return name === 'array' || name === `${list.name}_tuple`;
}

/** Throws ETL-3503 if two children have the same name. */
function assertDifferent(file: string, what: string, { children }: Node): void {
  const names = children.map(({ element }) => element.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new EtlError('ETL-3503', {
    what: `the ${what} of "${file}" names "${twice}" twice`,
    why: 'only one of the two could be loaded',
    fix: 'write the file again with different names',
  });
}

/** Chooses how the parts of one column are read. */
class SchemaReader {
  readonly #file: string;
  readonly #column: string;
  readonly #form: JsonRowForm;

  constructor({ file, column, form }: { file: string; column: string; form: JsonRowForm }) {
    this.#file = file;
    this.#column = column;
    this.#form = form;
  }

  choose(node: Node): NodeReading {
    // A repeated part without a list around it is a list, too. Its item is the same part without the repetition.
    if (node.element.repetition_type === 'REPEATED')
      return this.#createList(this.#chooseSingle(node), keep, node);
    return this.#chooseSingle(node);
  }

  #chooseSingle(node: Node): NodeReading {
    const { element, children, shape } = node;
    if (element.logical_type?.type === 'VARIANT') throw this.#createError('values of the type VARIANT');
    if (children.length === 0) {
      const reading = chooseLeafReading(element, this.#form);
      return { ...reading, readJson: toJsonReader(reading) };
    }
    const [first] = children;
    if (shape === 'list' && first !== undefined) {
      const item = first.children[0] ?? first;
      return this.#createList(this.#chooseSingle(item), keep, item);
    }
    if (isList(element) && children.length === 1 && first?.element.repetition_type === 'REPEATED')
      return this.#createList(this.#chooseSingle(first), (stored) => readPart(stored, first.key), first);
    if (isMap(element) && children.length === 1 && first !== undefined) return this.#createMap(first);
    return this.#createStruct(node);
  }

  /** A PostgreSQL array can't hold lists of different lengths, so a list of lists, maps or structs is JSON. */
  #createList(item: NodeReading, open: ValueReader, { children }: Node): NodeReading {
    const readItems = (stored: unknown, read: ValueReader): unknown =>
      (open(stored) as readonly unknown[] | undefined)?.map((each) => readOrNull(each, read)) ?? null;
    const readJson: ValueReader = (stored) => readItems(stored, item.readJson);
    if (children.length > 0) return { type: 'jsonb', read: readJson, readJson };
    return { type: `${item.type}[]`, read: (stored) => readItems(stored, item.read), readJson };
  }

  /**
   * Creates the reading of a map as a JSON object, whose names are the keys as PostgreSQL writes them. The last of several
   * entries with one key counts, as the format says.
   */
  #createMap(entry: Node): NodeReading {
    const [keyNode, valueNode] = entry.children;
    if (keyNode === undefined || keyNode.children.length > 0)
      throw this.#createError('a map whose keys are not simple values');
    const key = this.#chooseSingle(keyNode);
    const value = valueNode && this.choose(valueNode);
    const readEntry = (stored: unknown): [string, unknown] => [
      formatKey(key.readJson(readPart(stored, keyNode.key))),
      valueNode && value ? readOrNull(readPart(stored, valueNode.key), value.readJson) : null,
    ];
    const readJson: ValueReader = (stored) => {
      const entries = readPart(stored, entry.key) as readonly unknown[] | undefined;
      return entries === undefined || entries === null ? null : Object.fromEntries(entries.map(readEntry));
    };
    return { type: 'jsonb', read: readJson, readJson };
  }

  #createStruct(node: Node): NodeReading {
    assertDifferent(this.#file, `struct "${node.element.name}"`, node);
    const parts = node.children.map((child) => ({
      name: child.element.name,
      key: child.key,
      read: this.choose(child).readJson,
    }));
    const readJson: ValueReader = (stored) =>
      Object.fromEntries(
        parts.map(({ name, key, read }) => [name, readOrNull(readPart(stored, key), read)] as const),
      );
    return { type: 'jsonb', read: readJson, readJson };
  }

  #createError(what: string): EtlError {
    return new EtlError('ETL-3557', {
      what: `the column "${this.#column}" of "${this.#file}" has ${what}, which can't be loaded`,
      fix: 'write the file again without the column, or with a column of another type',
    });
  }
}

function keep(stored: unknown): unknown {
  return stored;
}

function readOrNull(stored: unknown, read: ValueReader): unknown {
  return stored === null || stored === undefined ? null : read(stored);
}

/** Returns a part of a group, which hyparquet returns as an object with its keys. */
function readPart(stored: unknown, key: string): unknown {
  return (stored as Readonly<Record<string, unknown>> | null | undefined)?.[key];
}

/** Returns the key of a map as the name of a JSON property. */
function formatKey(key: unknown): string {
  return Object.is(key, -0) ? '-0' : String(key);
}
