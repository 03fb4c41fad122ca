/**
 * The types that a text can be a notation of, the narrowest first. The names are those of PostgreSQL's `format_type`.
 */
export const TEXT_TYPES = [
  'boolean',
  'bigint',
  'numeric',
  'double precision',
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'uuid',
  'jsonb',
] as const;

/** The name of one of `TEXT_TYPES`. */
export type TextType = (typeof TEXT_TYPES)[number];

const DAY = String.raw`(\d{4})-(\d\d)-(\d\d)`;
const CLOCK = String.raw`[T ]([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?`;
const ZONE = String.raw`(?:Z|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)`;

const PATTERNS: Readonly<Record<Exclude<TextType, 'jsonb'>, RegExp>> = {
  boolean: /^(?:true|false)$/i,
  bigint: /^(?:0|-?[1-9]\d{0,17})$/,
  numeric: /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/,
  'double precision': /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,2})?$/,
  date: new RegExp(`^${DAY}$`),
  'timestamp without time zone': new RegExp(`^${DAY}(?:${CLOCK})?$`),
  'timestamp with time zone': new RegExp(`^${DAY}${CLOCK}${ZONE}$`),
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
};

/** Says whether PostgreSQL accepts the text as a value of the type and loses nothing of it. */
export function isOfType(type: TextType, text: string): boolean {
  if (type === 'jsonb') return isJson(text);
  const match = PATTERNS[type].exec(text);
  if (match === null) return false;
  return type.startsWith('date') || type.startsWith('timestamp') ? isDay(match) : true;
}

/**
 * Says whether a day exists: false for 2024-02-30 and for the year 0. `match` has year, month and day in its groups 1
 * to 3.
 */
function isDay([, year = '', month = '', day = '']: RegExpExecArray): boolean {
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return Number(year) > 0 && date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
}

/** Says whether the text is a JSON object or array. A JSON number or string alone is more likely a number or a text. */
function isJson(text: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    // `jsonb` can't hold a NUL character or half of a surrogate pair.
    return !/\\u(?:0000|d[89a-f])/i.test(text);
  } catch {
    return false;
  }
}
