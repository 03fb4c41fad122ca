import { inspect } from 'node:util';
import pg from 'pg';

/** Percent-encodes every byte, in upper or lower case. */
function encodeAll(text: string, isUpper: boolean): string {
  const hex = Buffer.from(text).toString('hex').replace(/../g, '%$&');
  return isUpper ? hex.toUpperCase() : hex;
}

/** The notations of a secret that libraries, servers and shells write, each by an implementation of its own. */
export const NOTATIONS: Readonly<Record<string, (secret: string) => string>> = {
  'as it is': (secret) => secret,
  'encodeURIComponent writes it': encodeURIComponent,
  'encodeURIComponent writes it in lower case': (secret) =>
    encodeURIComponent(secret).replace(/%../g, (escape) => escape.toLowerCase()),
  'a URL writes it': (secret) => Object.assign(new URL('http://u@h/'), { password: secret }).password,
  'a query writes it': (secret) => new URLSearchParams({ p: secret }).toString().slice(2),
  'every byte percent-encoded': (secret) => encodeAll(secret, true),
  'every byte percent-encoded in lower case': (secret) => encodeAll(secret, false),
  'every second character percent-encoded': (secret) =>
    Array.from(secret)
      .map((each, i) => (i % 2 === 0 ? encodeAll(each, true) : each))
      .join(''),
  'percent-encoded twice': (secret) => encodeURIComponent(encodeURIComponent(secret)),
  JSON: (secret) => JSON.stringify(secret),
  'JSON in JSON': (secret) => JSON.stringify(JSON.stringify(secret)),
  'JSON with only ASCII': (secret) =>
    JSON.stringify(secret).replace(
      /[^ -~]/g,
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
    ),
  'util.inspect writes it': (secret) => inspect({ password: secret }),
  'an SQL literal': (secret) => pg.escapeLiteral(secret),
  'an SQL name': (secret) => pg.escapeIdentifier(secret),
  'quoted for a shell': (secret) => `'${secret.replaceAll("'", String.raw`'\''`)}'`,
  'escaped for a shell': (secret) => secret.replace(/[^\w]/gu, (each) => `\\${each}`),
  HTML: (secret) =>
    secret
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&#39;'),
  'HTTP basic authentication': (secret) => Buffer.from(`ann:${secret}`).toString('base64'),
  'base64 in a longer text': (secret) => Buffer.from(`{"p":"${secret}"}`).toString('base64'),
  'base64 for URLs': (secret) => Buffer.from(`an:${secret}`).toString('base64url'),
  'hexadecimal digits': (secret) => `\\x${Buffer.from(secret).toString('hex')}`,
};
