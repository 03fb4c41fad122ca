import { StringDecoder } from 'node:string_decoder';
import { EtlError, EXIT } from '../../errors.js';
import { taskScope, type TaskScope } from '../../runtime/tasks/task-scope.js';

/** The exit code that the command has chosen. Undefined until the command is done. */
let chosen: number | undefined;
/** True if data for stdout could not be written. */
let isOutputLost = false;
/** True from the moment when the program itself ends the process. */
let isEnding = false;
/** The function of Node.js that every exit calls last. It has no types. */
const native = process as unknown as { reallyExit(code: number): never };
const endNow = native.reallyExit.bind(process);

/** Sets the exit code of the process. The last call counts. Code of the user can't change the code. */
export function setExitCode(code: number): void {
  chosen = code;
}

/** Says that a command could not write its data to stdout. A command that has succeeded otherwise then exits with 74. */
export function loseOutput(): void {
  isOutputLost = true;
}

/** Ends the process with the exit code that was set, or with 0 if no code was set. Runs the user's `exit` listeners. */
export function endProcess(): never {
  isEnding = true;
  chosen ??= EXIT.success;
  // Help and version are written by oclif, whose stream has stored the error. A reader that closes the pipe early, as in
  // `etl help | head -1`, is not a failure.
  const failure: NodeJS.ErrnoException | null = process.stdout.errored;
  if (failure !== null && failure.code !== 'EPIPE') isOutputLost = true;
  // oxlint-disable-next-line unicorn/no-process-exit -- the one place where the program ends the process
  return process.exit();
}

/**
 * Takes control of the end of this process, before any code of the user runs:
 *
 * - `process.exit` throws ETL-3007, in a task and while the config loads.
 * - Whatever ends the process, its exit code is the one of `setExitCode`. A process that ends before its command is done
 *   exits with `EXIT.bug`. An `exit` listener of the user runs, and can't change the code.
 */
export function takeOverExit(): void {
  const exit = process.exit.bind(process);
  const emit = process.emit.bind(process) as (event: string, ...rest: unknown[]) => boolean;
  native.reallyExit = () => endNow(getCode());
  process.exit = (code?: number | string | null) => {
    // After a stop signal, a listener of the user may end the process at once.
    if (isEnding || (chosen ?? 0) > 128) return exit();
    throw createExitRefusedError(code);
  };
  // Node.js emits `exit` in every case, also if the event loop is empty, and exits then.
  process.emit = ((event: string, ...rest: unknown[]) => {
    if (event !== 'exit') return emit(event, ...rest);
    try {
      emit('exit', getCode());
    } finally {
      endNow(getCode());
    }
    return true;
  }) as typeof process.emit;
}

/** Returns the exit code that the process would end with now. */
export function getCode(): number {
  if (chosen === undefined) return EXIT.bug;
  return chosen === EXIT.success && isOutputLost ? EXIT.output : chosen;
}

/** Creates the error of a task or of a config that calls `process.exit`. */
function createExitRefusedError(code: number | string | null | undefined): EtlError {
  const isTask = taskScope.getStore() !== undefined;
  return new EtlError('ETL-3007', {
    what: `${isTask ? 'a task' : 'the config'} must not call process.exit(${code ?? ''})`,
    why: isTask ? 'the run may have other open tasks' : 'the command would not be done',
    fix: isTask ? 'throw an error or FailTask to fail the task' : 'throw an error to stop the command',
  });
}

/**
 * Passes whole lines that code of the user writes to stdout, for example with `console.log`, to `print`, because stdout is
 * only for data. `scope` is the task whose code has written the line. Undefined for other code, such as the config. Code
 * that writes to the file descriptor itself, and child processes, are not captured.
 */
export function captureStdout(print: (line: string, scope: TaskScope | undefined) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const write = (chunk: string | Uint8Array, ...more: unknown[]): boolean => {
    const [encoding] = more;
    const bytes =
      typeof chunk === 'string' && typeof encoding === 'string'
        ? Buffer.from(chunk, encoding as BufferEncoding)
        : Buffer.from(chunk as Uint8Array);
    const lines = (rest + decoder.write(bytes)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) print(line, taskScope.getStore());
    const callback = more.find((each) => typeof each === 'function') as (() => void) | undefined;
    if (callback) queueMicrotask(callback);
    return true;
  };
  process.stdout.write = write;
  process.on('exit', () => {
    if (rest !== '') print(rest, undefined);
    rest = '';
  });
}
