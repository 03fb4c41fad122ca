/** A command in the log of a step of GitHub Actions. */
export interface WorkflowCommand {
  readonly name: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly data: string;
}

/**
 * Parses a line as GitHub's runner does in `ActionCommand.TryParseV2`. Returns undefined for a line that is no command.
 * https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
 */
export function parseWorkflowCommand(line: string): WorkflowCommand | undefined {
  const message = line.trimStart();
  const end = message.indexOf('::', 2);
  if (!message.startsWith('::') || end < 0) return undefined;
  const info = message.slice(2, end);
  const space = info.indexOf(' ');
  const name = space < 0 ? info : info.slice(0, space);
  const pairs =
    space < 0
      ? []
      : info
          .slice(space + 1)
          .trim()
          .split(',');
  const properties = pairs.flatMap((pair) => {
    const equals = pair.indexOf('=');
    return equals < 0 ? [] : [[pair.slice(0, equals), unescapeProperty(pair.slice(equals + 1))]];
  });
  return { name, properties: Object.fromEntries(properties), data: unescapeData(message.slice(end + 2)) };
}

/** The runner replaces these in this order. */
function unescapeProperty(text: string): string {
  return unescape(text, { '%0D': '\r', '%0A': '\n', '%3A': ':', '%2C': ',', '%25': '%' });
}

function unescapeData(text: string): string {
  return unescape(text, { '%0D': '\r', '%0A': '\n', '%25': '%' });
}

function unescape(text: string, mapping: Readonly<Record<string, string>>): string {
  let unescaped = text;
  for (const [token, character] of Object.entries(mapping))
    unescaped = unescaped.replaceAll(token, character);
  return unescaped;
}
