import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

/** The columns of the table that gets the files: eight columns, about 93 bytes a row. */
export const EVENTS = `(id bigint, ts timestamptz, user_id int, email text, country text, amount numeric(12,2), quantity int, note text)`;

const COUNTRIES = ['DE', 'US', 'FR', 'GB', 'IN', 'BR', 'JP', 'NL'];
const WORDS = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta'];
const FIRST_AT = Date.UTC(2026, 0, 1);
const BATCH = 10_000;

/** Writes a CSV file with a header, some quotes and some empty fields. The same number of rows gives the same file. */
export async function writeEvents(file: string, rows: number): Promise<void> {
  const out = createWriteStream(file, { highWaterMark: 1024 * 1024 });
  const next = createNumbers(7);
  out.write('id,ts,user_id,email,country,amount,quantity,note\n');
  for (let first = 1; first <= rows; first += BATCH) {
    let text = '';
    for (let id = first; id < first + BATCH && id <= rows; id++) text += formatEventLine(id, next);
    if (!out.write(text)) await once(out, 'drain');
  }
  out.end();
  await finished(out);
}

function formatEventLine(id: number, next: (below: number) => number): string {
  const user = next(1_000_000);
  const at = new Date(FIRST_AT + id * 137).toISOString();
  const amount = (next(1_000_000) / 100).toFixed(2);
  return `${id},${at},${user},user${user}@example.com,${COUNTRIES[next(8)]},${amount},${next(100)},${createNote(id, next)}\n`;
}

function createNote(id: number, next: (below: number) => number): string {
  const text = `${WORDS[next(8)]} ${WORDS[next(8)]} ${WORDS[next(8)]}`;
  if (id % 50 === 0) return `"${text}, said ""ok"""`;
  return id % 97 === 0 ? '' : text;
}

/** Creates a linear congruential generator (Numerical Recipes). It returns the same numbers on every machine. */
function createNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
}
