import { CONNECTIONS } from './connection.js';
import { CONTROLS } from './controls/controls.js';
import { EMBEDDED } from './embedded.js';
import type { Fault } from './fault.js';
import { FENCING } from './fencing.js';
import { KILLS } from './kill.js';
import { LOCKS } from './lock.js';
import { MOVES } from './move.js';
import { PROCESSES } from './process.js';
import { RECOVERY } from './recovery.js';
import { SERVER } from './server.js';
import { SESSIONS } from './session.js';

/** All faults, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...KILLS,
  ...RECOVERY,
  ...CONNECTIONS,
  ...SERVER,
  ...LOCKS,
  ...FENCING,
  ...PROCESSES,
  ...SESSIONS,
  ...MOVES,
  ...EMBEDDED,
  ...CONTROLS,
];
