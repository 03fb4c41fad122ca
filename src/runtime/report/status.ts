import type { Reporter } from './event.js';
import { Movements } from './movement.js';
import { neutralizeText } from './words.js';

/** To the first column of the line, and the line empty. */
const ERASE = '\r\u001b[2K';

export interface StatusOptions {
  readonly write: (text: string) => void;
  /** The width of the terminal now, in characters. */
  readonly columns: () => number;
}

/** Another reporter's lines in a terminal, and below them one that shows what is moving; it goes with the next event. */
export function createStatusReporter(lines: Reporter, { write, columns }: StatusOptions): Reporter {
  const movements = new Movements();
  let isShown = false;
  return {
    report(event) {
      movements.addEvent(event);
      if (event.type === 'task_progress') {
        // A full line would be two.
        const text = neutralizeText(` ${movements.formatAll().join('   ')}`).slice(0, columns() - 1);
        isShown = true;
        return write(`${ERASE}${text}`);
      }
      if (isShown) write(ERASE);
      isShown = false;
      lines.report(event);
    },
  };
}
