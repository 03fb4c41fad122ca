/**
 * The last words of names whose values are secret. The list is Airflow's, with the names that libpq, AWS, Azure and
 * Google use.
 * https://airflow.apache.org/docs/apache-airflow/stable/security/secrets/mask-sensitive-values.html
 */
const LAST_WORDS: ReadonlySet<string> = new Set(
  (
    'password passwd pwd pass passphrase secret token jwt sig signature credential credentials authorization auth ' +
    'apikey'
  ).split(' '),
);
/** Two words that together end such a name. The word `key` alone says nothing: `PRIMARY_KEY`, `sslkey`. */
const LAST_TWO_WORDS: ReadonlySet<string> = new Set(
  'apikey accesskey secretkey privatekey signingkey encryptionkey accountkey keyfiledict keycontent serviceaccount'.split(
    ' ',
  ),
);
/** Variables with such a name that hold a directory. */
const DIRECTORIES: ReadonlySet<string> = new Set(['PWD', 'OLDPWD']);

/**
 * Says whether a value of this name is secret. The name is that of a variable, of a field or of a parameter of a URL:
 * `PGPASSWORD`, `clientSecret`, `X-Amz-Security-Token`, but not `tokenizer`, `PWD` or `sslkey`.
 */
export function isSecretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const last = words.findLast((word) => word !== '') ?? '';
  if (DIRECTORIES.has(name)) return false;
  if (LAST_WORDS.has(last) || /(?:password|passwd|secret|token)$/.test(last)) return true;
  return LAST_TWO_WORDS.has(words.slice(-2).join(''));
}
