import type { Reporter } from './event.js';
import { Movements } from './movement.js';

/** The control sequence that moves the cursor to the first column and clears the line. */
const ERASE = '\r\u001b[2K';

/** Options of `createStatusReporter`. */
export interface StatusOptions {
  /** Gets text for the terminal. */
  readonly write: (text: string) => void;
  /** Gets a control sequence for the terminal. */
  readonly control: (sequence: string) => void;
  /** Returns the current width of the terminal, in characters. */
  readonly columns: () => number;
}

/**
 * Creates a reporter for a terminal. Passes each event to the reporter `lines`, except progress: progress is shown in
 * one line with all tasks, below the other lines. The next event removes or replaces this line.
 */
export function createStatusReporter(lines: Reporter, { write, control, columns }: StatusOptions): Reporter {
  const movements = new Movements();
  let isShown = false;
  return {
    report(event) {
      movements.addEvent(event);
      if (event.type === 'task_progress') {
        // The terminal would wrap a line of its full width.
        const text = ` ${movements.formatAll().join('   ')}`.slice(0, columns() - 1);
        isShown = true;
        control(ERASE);
        return write(text);
      }
      if (isShown) control(ERASE);
      isShown = false;
      lines.report(event);
    },
  };
}
