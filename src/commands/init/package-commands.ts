/** The commands of the package manager that a project uses. */
export interface PackageCommands {
  /** The name of the package manager: npm, pnpm, yarn, bun or deno. */
  readonly name: string;
  /** Formats the command that installs packages. */
  add(packages: readonly string[], isForDevelopment: boolean): string;
  /** Formats the command that runs a program of an installed package. */
  run(...words: readonly string[]): string;
}

/**
 * Finds the package manager of a project: by a lockfile or a field of the package.json upward from the directory, else by
 * the program that has started this process, else npm.
 */
export async function findPackageCommands(directory: string): Promise<PackageCommands> {
  const { detect, getUserAgent } = await import('package-manager-detector/detect');
  const { resolveCommand } = await import('package-manager-detector/commands');
  const found = await detect({
    cwd: directory,
    strategies: ['lockfile', 'packageManager-field', 'devEngines-field', 'install-metadata'],
  });
  const agent = found?.agent ?? getUserAgent() ?? 'npm';
  const format = (command: 'add' | 'execute-local', words: readonly string[]): string => {
    const resolved = resolveCommand(agent, command, [...words]) ?? {
      command: agent,
      args: [command, ...words],
    };
    return [resolved.command, ...resolved.args].join(' ');
  };
  return {
    name: found?.name ?? agent,
    add: (packages, isForDevelopment) => {
      const flag = agent === 'bun' ? '-d' : '-D';
      return format('add', isForDevelopment ? [flag, ...packages] : packages);
    },
    run: (...words) => format('execute-local', words),
  };
}
