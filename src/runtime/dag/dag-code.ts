import { CodeReader } from '../fingerprint/code-reader.js';
import type { CodeDescriber, CodeDescription } from '../modules/location.js';
import { describeDefinition } from './dag.js';

/** The readers of this process by version. Within one process, the code of a Dag does not change. */
const readers = new Map<string | undefined, DagCode>();

/**
 * Describes the tasks of a Dag that was not loaded from a config: nobody knows which modules its functions use. A version
 * that the caller gives stands for the code.
 */
export class DagCode implements CodeDescriber {
  readonly nonce: string;
  readonly #version: string | undefined;
  readonly #reader = new CodeReader({
    modules: undefined,
    entries: [],
    directory: '',
    cache: undefined,
    version: '',
    variables: {},
    describeOwn: describeDefinition,
  });

  /** Use `getDagCode`. */
  constructor(version: string | undefined) {
    this.nonce = this.#reader.nonce;
    this.#version = version;
  }

  /** Describes values. If they have functions, the version decides; without a version, nobody can decide. */
  async describe(values: Readonly<Record<string, unknown>>): Promise<CodeDescription> {
    const description = await this.#reader.describe(values);
    if (!description.usesCode) return description;
    if (this.#version === undefined)
      return { ...description, undecided: new Set([...description.undecided, 'its code']) };
    const parts = new Map([...description.parts, [`the option \`codeVersion\``, this.#version]]);
    return { ...description, parts };
  }

  close(): void {
    this.#reader.close();
  }
}

/**
 * Returns the describer for a version of the code. It is the same one for all calls of a process, so a resume in the
 * same process repeats no task.
 */
export function getDagCode(version: string | undefined): DagCode {
  let code = readers.get(version);
  if (code === undefined) readers.set(version, (code = new DagCode(version)));
  return code;
}
