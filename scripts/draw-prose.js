// Prints 40 doc comments and 12 functions of src, drawn by a seed, for a reader who has not seen the code:
// `node scripts/draw-prose.js 424242`. The same seed and the same code give the same draw.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'oxc-parser';

const COMMENTS = 40;
const FUNCTIONS = 12;
const src = join(import.meta.dirname, '../src');
const [seed = '1'] = process.argv.slice(2);
let state = Number(seed);

const comments = [];
const functions = [];
for (const file of readdirSync(src, { recursive: true }).toSorted((a, b) => (a < b ? -1 : 1)))
  if (file.endsWith('.ts')) collect(file, readFileSync(join(src, file), 'utf8'));
process.stdout.write(`seed ${seed}\n`);
for (const each of [...draw(comments, COMMENTS), ...draw(functions, FUNCTIONS)]) process.stdout.write(each);

/** Adds the doc comments of a file, with the three lines after each, and its functions of 8 to 45 lines. */
function collect(file, text) {
  const { program, comments: found } = parseSync(file, text);
  const head = (start) => `\n### src/${file}:${text.slice(0, start).split('\n').length}\n`;
  for (const { start, end } of found.filter((each) => text.startsWith('/**', each.start))) {
    const next = text.slice(end).trimStart().split('\n').slice(0, 3).join('\n');
    comments.push(`${head(start)}${text.slice(start, end)}\n${next}\n`);
  }
  for (const node of program.body.map((each) => each.declaration ?? each)) {
    const code = text.slice(node.start, node.end);
    const lines = code.split('\n').length;
    if (node.type !== 'FunctionDeclaration' || lines < 8 || lines > 45) continue;
    const comment = found.findLast((each) => each.end < node.start);
    const isAbove = comment && /^\s*(?:export\s+)?$/.test(text.slice(comment.end, node.start));
    functions.push(
      `${head(node.start)}${isAbove ? `${text.slice(comment.start, comment.end)}\n` : ''}${code}\n`,
    );
  }
}

/** Draws `count` items without replacement, by a linear congruential generator. */
function draw(items, count) {
  const rest = [...items];
  return Array.from({ length: count }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return rest.splice(state % rest.length, 1)[0];
  });
}
