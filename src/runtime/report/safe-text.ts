import { secrets } from '../secrets/secrets.js';

/**
 * Characters that a terminal or a reader obeys instead of showing them: control characters, and characters that end a
 * line, change the direction of the text, or are invisible.
 */
const CONTROL =
  /[\p{Cc}\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB\u{E0000}-\u{E007F}]/gu;
/**
 * Texts that a CI system obeys anywhere in a line: `##[` of GitHub and Azure, `##vso[` of Azure, `##teamcity[`, and the
 * sections of GitLab and Travis. Matches the character to replace.
 *
 * - https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
 * - https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
 * - https://www.jetbrains.com/help/teamcity/service-messages.html
 * - https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
 */
const COMMAND_IN_LINE = /#(?=#(?:vso|teamcity)?\[)|(?<=section|travis)_(?=(?:start|end|fold|time):)/gi;
/**
 * Texts that a CI system obeys at the start of a line: `::` of GitHub, also behind blanks, and `---`, `+++`, `~~~` and
 * `^^^` of Buildkite. The marks of colours (U+F0000) do not count, because a CI system may remove colours.
 *
 * - https://docs.github.com/actions/reference/workflow-commands-for-github-actions
 * - https://buildkite.com/docs/pipelines/configure/managing-log-output
 */
const COMMAND_AT_START =
  /^(?:[^\S\n]|\u{F0000}[0-9a-f]{12}\d{1,2}m)*:(?=:)|^(?:\u{F0000}[0-9a-f]{12}\d{1,2}m)*[-+~^](?=(?:--|\+\+|~~|\^\^) )/gmu;

/**
 * Makes text from elsewhere harmless in a terminal and in a log: replaces each control character by its code, such as
 * `\x1b` or `\u202e`. Line breaks and tabs stay.
 */
export function neutralizeText(text: string): string {
  return text.replace(CONTROL, (character) =>
    character === '\n' || character === '\t' ? character : formatCode(character),
  );
}

/**
 * Makes whole lines harmless for a terminal and for CI systems: like `neutralizeText`, and the first character of a text
 * that a CI system would obey is replaced by its code, as in `\x3a:error::`.
 */
export function neutralizeLines(text: string): string {
  return neutralizeText(text.replaceAll('\r\n', '\n'))
    .replace(COMMAND_IN_LINE, formatCode)
    .replace(COMMAND_AT_START, (found) => found.slice(0, -1) + formatCode(found.slice(-1)));
}

/** Returns whole lines as an output may contain them: with secrets masked, and harmless for a terminal and CI systems. */
export function makeSafe(text: string): string {
  return neutralizeLines(secrets.mask(text));
}

/** Formats the code of a character as JavaScript writes it: `\x1b`, `\u202e`, `\u{e0041}`. */
function formatCode(character: string): string {
  const code = (character.codePointAt(0) ?? 0).toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, '0')}`;
  return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\u{${code}}`;
}

/**
 * Formats data as JSON for an output. Secrets in names and values are masked. Characters that a terminal or a CI system
 * obeys are written as escapes, so a program that parses the JSON gets the same text.
 */
export function formatJson(data: unknown, indent?: number): string {
  const text = JSON.stringify(data, undefined, indent) ?? 'null';
  // A secret is masked in the values, because it can look like a part of the JSON itself. Most texts have no secret.
  const masked = secrets.mask(text) === text ? text : JSON.stringify(data, maskEntry, indent);
  return masked
    .replace(CONTROL, (character) => (character === '\n' ? character : escapeJson(character)))
    .replace(COMMAND_IN_LINE, escapeJson);
}

/** Masks a value for `JSON.stringify`. A number is masked only if the whole number is a secret. */
function maskEntry(_name: string, value: unknown): unknown {
  if (typeof value === 'string') return secrets.mask(value);
  if (typeof value === 'number') return secrets.mask(String(value)) === '***' ? '***' : value;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  const isSafe = entries.every(([name]) => secrets.mask(name) === name);
  return isSafe ? value : Object.fromEntries(entries.map(([name, each]) => [secrets.mask(name), each]));
}

/** Escapes a character in a JSON string. A character outside of the basic plane is two escapes. */
function escapeJson(character: string): string {
  return Array.from({ length: character.length }, (_, i) => character.charCodeAt(i))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('');
}
