import { randomBytes } from 'node:crypto';
import { describeThrown } from '../../errors.js';
import type { CodeCache } from '../modules/cache.js';
import { WRAPPER } from '../modules/compile.js';
import type { CodeDescription, CodeDescriber } from '../modules/location.js';
import type { ConfigModules } from '../modules/modules.js';
import { ClosureReader } from './closure.js';
import { CodeParts, type CodeSources } from './code-parts.js';
import { ModuleGraph, type LocalFile } from './module-graph.js';
import { UserFunctions } from './user-functions.js';

/** The services of a code reader. */
export interface CodeReaderOptions {
  /** The modules of the config. Undefined if the config is not known: then the code around a function is not followed. */
  readonly modules: ConfigModules | undefined;
  /** The config, or the modules that it names. */
  readonly entries: readonly LocalFile[];
  readonly directory: string;
  readonly cache: CodeCache | undefined;
  /** The version of this program. */
  readonly version: string;
  /** The environment variables of the process. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly describeOwn: (value: object) => string | undefined;
}

/** Describes what the tasks of a config do, for their fingerprints. Reads the modules only if a task has a function. */
export class CodeReader implements CodeDescriber {
  readonly #options: CodeReaderOptions;
  readonly #closures = new ClosureReader();
  #sources: Promise<CodeSources> | undefined;
  /** The sources of tasks without code. */
  readonly #plainSources: CodeSources;
  #nonce: string | undefined;

  constructor(options: CodeReaderOptions) {
    this.#options = options;
    this.#plainSources = this.#createSources(undefined);
  }

  /** Differs in each process, so that what can't be decided is never equal. */
  get nonce(): string {
    return (this.#nonce ??= randomBytes(6).toString('base64url'));
  }

  /** Describes the values that decide what a task does, by the words that name them in messages. */
  async describe(values: Readonly<Record<string, unknown>>): Promise<CodeDescription> {
    const plain = collect(values, this.#plainSources);
    if (!plain.usesCode || this.#options.modules === undefined) return plain;
    try {
      return collect(values, await (this.#sources ??= this.#load(this.#options.modules)));
    } catch (error) {
      // The task itself can run. A resume runs it again, and shows this reason.
      const undecided = new Set([`its code (${describeThrown(error)})`]);
      return { parts: plain.parts, undecided, usesCode: true };
    }
  }

  /** Ends the connection to the inspector of Node.js. */
  close(): void {
    this.#closures.close();
  }

  async #load(modules: ConfigModules): Promise<CodeSources> {
    const graph = new ModuleGraph({ ...this.#options, modules, indent: WRAPPER.length });
    await graph.load();
    return this.#createSources(graph);
  }

  #createSources(graph: ModuleGraph | undefined): CodeSources {
    const { directory: root, variables, describeOwn } = this.#options;
    const functions = graph && new UserFunctions(graph, this.#closures);
    return { graph, functions, root, variables, describeOwn, known: new Map(), texts: new Map() };
  }
}

function collect(values: Readonly<Record<string, unknown>>, sources: CodeSources): CodeParts {
  const parts = new CodeParts(sources);
  for (const [subject, value] of Object.entries(values)) if (value !== undefined) parts.add(subject, value);
  parts.finish();
  return parts;
}
