import { isSecretName } from './secret-names.js';

/**
 * Matches the password of a URL, with the text before it. A number up to a `/` is a port, as in
 * `https://registry:4873/@scope/name`. All repetitions have limits, so that no text takes more than linear time.
 */
const URL_PASSWORD = /(:\/\/[^\s:@/?#"'`<>]{0,256}:)(?!\d{1,5}[/?#])[^\s"'`<>]{1,512}@/g;
/** Matches the user of an http URL without a password, which often is an access token. */
const URL_TOKEN = /(https?:\/\/)[^\s:@/?#"'`<>]{1,512}@/gi;
/** Matches a parameter of a URL: its separator, its name and its value. */
const URL_PARAMETER = /([?&;])([\w.-]{1,64})=([^&;#\s"'`<>]{1,4096})/g;
/** Matches libpq's `password=…`, and the same in JSON and in SQL: `"password":"…"`, `PASSWORD '…'`. */
const NAMED_PASSWORD =
  /(\b(?:pg|ssl)?password(?:["']?\s{0,4}=\s{0,4}|\\{0,4}["']\s{0,4}:\s{0,4}\\{0,4}(?=["'])|\s{1,4}E?(?=')))("(?:[^"\\]|\\.){1,512}"?|'(?:[^'\\]|\\.|''){1,512}'?|[^\s,;&"')}\]]{1,512})/gi;
/** Matches the credentials of an HTTP header. */
const AUTHORIZATION =
  /(\bauthorization["']?\s{0,4}[:=]\s{0,4}["']?(?:basic|bearer)\s{1,4})[^\s"',;]{1,4096}/gi;

/**
 * Replaces each text by `***` that stands where only a secret can stand: the password of a URL, a parameter such as
 * `X-Amz-Signature`, the value of `password=`. This also hides secrets that nobody has told us about, and passwords that
 * are too short to be searched.
 */
export function maskPositions(text: string): string {
  let masked = text;
  if (masked.includes('://')) masked = masked.replace(URL_PASSWORD, '$1***@').replace(URL_TOKEN, '$1***@');
  if (masked.includes('='))
    masked = masked.replace(URL_PARAMETER, (all: string, mark: string, name: string) =>
      isSecretName(name) || name.toLowerCase() === 'key' ? `${mark}${name}=***` : all,
    );
  if (/password/i.test(masked)) masked = masked.replace(NAMED_PASSWORD, replaceNamed);
  return /authorization/i.test(masked) ? masked.replace(AUTHORIZATION, '$1***') : masked;
}

/** Keeps the quotation marks of a value, and a value without a letter or digit, such as `password=…`. */
function replaceNamed(all: string, before: string, value: string): string {
  if (!/[\p{L}\p{N}]/u.test(value)) return all;
  const quote = /^["']/.exec(value)?.[0] ?? '';
  return `${before}${quote}***${quote}`;
}
