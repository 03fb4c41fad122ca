import type { Row } from '../copy/encode.js';
import {
  type UnusualNumbers,
  findUnusualNumbers,
  mayBeRewritten,
  parseExact,
} from '../postgres/exact-json.js';
import { ExactNumber, JsonText } from '../postgres/exact-number.js';
import { isRecord } from '../json.js';
import { type JsonProperty, findContainerEnd, findStringEnd, splitProperties } from './json-scan.js';
import { createRowMaker } from './row-maker.js';
import { type RowTexts, SAMPLE_ROWS } from './row-reader.js';

/**
 * The form of the values in a row:
 *
 * - `text`: each number is an `ExactNumber`, and each array and object is a `JsonText`, so that no text changes on the way
 *   to the server.
 * - `value`: values as `parseExact` returns them, for a `transform`. `JsonRowReader.texts` has the texts that JavaScript
 *   would write in another way.
 */
export type JsonRowForm = 'text' | 'value';

/** Reads JSON objects as rows, those of one file in their order. */
export class JsonRowReader {
  readonly #form: JsonRowForm;
  readonly #known = new KnownNames();
  /** The names in order of appearance in the first rows. */
  readonly #appeared = new Set<string>();
  #rows = 0;
  #texts: RowTexts | undefined;

  constructor(form: JsonRowForm) {
    this.#form = form;
  }

  /** The texts of the last row. Undefined if JavaScript writes all of its values as its text has them. */
  get texts(): RowTexts | undefined {
    return this.#texts;
  }

  /** The names in the first rows, in the order in which the file has them. A JavaScript object begins with whole numbers. */
  get names(): readonly string[] {
    return [...this.#appeared];
  }

  /**
   * Returns the row of one JSON object. In the form `text`, a name that the object does not have can have the value
   * `undefined`. Returns undefined if the text is JSON and not an object. Throws a `SyntaxError` if the text is not JSON.
   */
  read(text: string): Row | undefined {
    this.#rows++;
    return this.#form === 'text' ? (this.#known.read(text) ?? this.#readText(text)) : this.#readValue(text);
  }

  /** Reads a row in the form `text`, and remembers its names. */
  #readText(text: string): Row | undefined {
    if (!isRecord(JSON.parse(text))) return undefined;
    const properties = this.#split(text);
    this.#known.learn(properties);
    // The last of several properties of one name counts, as in `JSON.parse`.
    return Object.fromEntries(properties.map(({ name, value }) => [name, toTextForm(value)]));
  }

  /** Reads a row in the form `value`, and finds the texts of its values. */
  #readValue(text: string): Row | undefined {
    this.#texts = undefined;
    const unusual = findUnusualNumbers(text);
    const row: unknown = unusual.mayBeInexact ? parseExact(text) : JSON.parse(text);
    if (!isRecord(row)) return undefined;
    if (this.#rows <= SAMPLE_ROWS) this.#split(text);
    if (unusual.count > 0) this.#texts = findNumberTexts(text, row, unusual) ?? this.#findTexts(text, row);
    return row;
  }

  /** Finds the texts of all values that JavaScript may write in another way. */
  #findTexts(text: string, row: Row): RowTexts {
    return this.#split(text)
      .filter(({ name, value }) => isRewritten(row[name], value))
      .map(({ name, value }) => [name, value]);
  }

  /** Splits an object, and collects the names of the first rows. */
  #split(text: string): readonly JsonProperty[] {
    const properties = splitProperties(text);
    if (this.#rows <= SAMPLE_ROWS) for (const { name } of properties) this.#appeared.add(name);
    return properties;
  }
}

/**
 * Reads JSON objects whose names are known. The objects of one file mostly have the same names in the same order, so
 * looking for the names takes less time than parsing the object and writing its values again.
 */
class KnownNames {
  /** The names of all objects so far, and the parts of the text that name them: `"id":`. In the order of the objects. */
  readonly #names: string[] = [];
  readonly #keys: string[] = [];
  #make = createRowMaker<unknown>([]);
  /** The fields of the last row, in the order of the names. Each row uses the same array, because rows are many. */
  readonly #fields: unknown[] = [];
  /** The number of times that names were added. A file whose every object has new names must not compile code for each. */
  #learned = 0;
  /** The index after the value that was read last, or -1 if the text there is not a valid value. */
  #end = 0;

  /**
   * Returns the row of an object in the form `text`. Returns undefined if the object has other names or another order, or
   * may not be valid JSON.
   */
  read(text: string): Row | undefined {
    const keys = this.#keys;
    // A control character inside a string is not valid, and outside it is an unusual space.
    if (keys.length === 0 || text.charCodeAt(0) !== OPEN_BRACE || CONTROL.test(text)) return undefined;
    const hasEscapes = text.includes('\\');
    const fields = this.#fields;
    let next = 0;
    for (let at = 1; ;) {
      while (!text.startsWith(keys[next] as string, at)) {
        fields[next++] = undefined;
        if (next === keys.length) return undefined;
      }
      at = skipOneSpace(text, at + (keys[next] as string).length);
      fields[next++] = this.#readValue(text, at, hasEscapes);
      if (this.#end === -1) return undefined;
      const code = text.charCodeAt(this.#end);
      at = skipOneSpace(text, this.#end + 1);
      if (code === CLOSE_BRACE) {
        fields.fill(undefined, next);
        return text.length === at ? this.#make(fields) : undefined;
      }
      if (code !== COMMA || next === keys.length) return undefined;
    }
  }

  /**
   * Adds the names of an object that are not known yet, each after the name that precedes it in the object. If the object
   * has known names in another order, the names get the order of the object.
   */
  learn(properties: readonly JsonProperty[]): void {
    if (this.#learned >= MOST_LEARNED) return;
    // No order of the names fits an object that has a name twice.
    if (new Set(properties.map(({ name }) => name)).size < properties.length) return;
    let hasChanged = false;
    let after = 0;
    for (const { key, name } of properties) {
      const index = this.#names.indexOf(name);
      if (index >= after) {
        after = index + 1;
        continue;
      }
      hasChanged = true;
      if (index === -1) {
        this.#names.splice(after, 0, name);
        this.#keys.splice(after++, 0, `${key}:`);
      } else {
        this.#names.splice(after - 1, 0, ...this.#names.splice(index, 1));
        this.#keys.splice(after - 1, 0, ...this.#keys.splice(index, 1));
      }
    }
    if (!hasChanged) return;
    this.#learned++;
    this.#fields.length = this.#names.length;
    this.#make = createRowMaker<unknown>(this.#names);
  }

  /** Reads the value that begins at `at`. Sets `#end`. */
  #readValue(text: string, at: number, hasEscapes: boolean): unknown {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return this.#readString(text, at, hasEscapes);
    if (code === MINUS || (code >= DIGIT_0 && code <= DIGIT_9)) return this.#readNumber(text, at);
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      this.#end = findContainerEnd(text, at);
      const token = text.slice(at, this.#end);
      this.#tryParse(token);
      return new JsonText(token);
    }
    const word = text.startsWith('null', at) ? 'null' : text.startsWith('true', at) ? 'true' : 'false';
    this.#end = word === 'false' && !text.startsWith(word, at) ? -1 : at + word.length;
    return word === 'null' ? null : word === 'true';
  }

  #readString(text: string, at: number, hasEscapes: boolean): string {
    if (!hasEscapes) {
      const end = text.indexOf('"', at + 1);
      this.#end = end === -1 ? -1 : end + 1;
      return text.slice(at + 1, end);
    }
    this.#end = findStringEnd(text, at);
    const inside = text.slice(at + 1, this.#end - 1);
    return inside.includes('\\') ? (this.#tryParse(text.slice(at, this.#end)) as string) : inside;
  }

  #readNumber(text: string, at: number): unknown {
    const first = text.charCodeAt(at);
    const start = first === MINUS ? at + 1 : at;
    let end = start;
    let whole = 0;
    for (; ; end++) {
      const digit = text.charCodeAt(end) - DIGIT_0;
      // `charCodeAt` is NaN after the end of the text.
      if (!(digit >= 0 && digit <= 9)) break;
      whole = whole * 10 + digit;
    }
    const code = text.charCodeAt(end);
    // A short whole number without a leading zero. JavaScript writes it as it is.
    if (code !== POINT && code !== LOWER_E && code !== UPPER_E && end - start <= ALWAYS_EXACT) {
      const hasZero = text.charCodeAt(start) === DIGIT_0;
      if (end > start && (!hasZero || end === at + 1)) {
        this.#end = end;
        return first === MINUS ? -whole : whole;
      }
    }
    NUMBER.lastIndex = at;
    this.#end = NUMBER.test(text) ? NUMBER.lastIndex : -1;
    return new ExactNumber(text.slice(at, this.#end));
  }

  /** Parses a part of the text. Sets `#end` to -1 if it is not JSON: then the whole text is parsed, which throws. */
  #tryParse(token: string): unknown {
    try {
      return JSON.parse(token);
    } catch {
      this.#end = -1;
      return undefined;
    }
  }
}

/** After so many changes of the known names, an object with new names is parsed, and its names are not remembered. */
const MOST_LEARNED = 50;

const COMMA = 44;
const COLON = 58;
const QUOTE = 34;
const MINUS = 45;
const POINT = 46;
const LOWER_E = 101;
const UPPER_E = 69;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const OPEN_BRACKET = 91;
const SPACE = 32;

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\0-\x1f]/;
/** https://www.rfc-editor.org/rfc/rfc8259#section-6 */
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** A whole number of so many characters is exact as a double. */
const ALWAYS_EXACT = 15;

/** Returns `at`, or the index after one space at `at`. */
function skipOneSpace(text: string, at: number): number {
  return text.charCodeAt(at) === SPACE ? at + 1 : at;
}

/** Says whether JavaScript may write a value in another way than its text. An `ExactNumber` has its text already. */
function isRewritten(value: unknown, text: string): boolean {
  const isContainer = text.startsWith('{') || text.startsWith('[');
  return (isContainer || typeof value === 'number') && mayBeRewritten(text);
}

/**
 * Finds the texts of the numbers of an object that has no other values that JavaScript may write in another way. Returns
 * undefined if it may have others, for example in an array. This takes less time than splitting the object.
 *
 * A string may contain what looks like a property. Therefore a text counts only if the row has its name and its value.
 */
function findNumberTexts(text: string, row: Row, { starts, count }: UnusualNumbers): RowTexts | undefined {
  if (text.includes('[') || text.includes('{', 1)) return undefined;
  const texts: [string, string][] = [];
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    NUMBER.lastIndex = start;
    if (!NUMBER.test(text)) return undefined;
    const token = text.slice(start, NUMBER.lastIndex);
    const colon = text.charCodeAt(start - 1) === SPACE ? start - 2 : start - 1;
    if (text.charCodeAt(colon) !== COLON || text.charCodeAt(colon - 1) !== QUOTE) return undefined;
    const open = text.lastIndexOf('"', colon - 2);
    const name = text.slice(open + 1, colon - 1);
    if (name.includes('\\') || text[open - 1] === '\\' || row[name] !== Number(token)) return undefined;
    texts.push([name, token]);
  }
  return texts;
}

/** Returns the value of a property in the form `text`. */
function toTextForm(token: string): unknown {
  if (/^[-\d]/.test(token)) return new ExactNumber(token);
  return /^[[{]/.test(token) ? new JsonText(token) : JSON.parse(token);
}
