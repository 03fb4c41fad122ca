import { CONNECTIONS } from './connection.js';
import { CONTROLS } from './controls/controls.js';
import { CREATORS } from './creators.js';
import { EMBEDDED } from './embedded.js';
import type { Fault } from './fault.js';
import { FENCING } from './fencing.js';
import { KILLS } from './kill.js';
import { LOCKS } from './lock.js';
import { MOVES } from './move.js';
import { PIPES } from './pipe.js';
import { PROCESSES } from './process.js';
import { RECOVERY } from './recovery.js';
import { SERVER } from './server.js';
import { SESSIONS } from './session.js';
import { SUSPENSIONS } from './suspend.js';
import { TRUNCATIONS } from './truncate.js';

/** All faults, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...KILLS,
  ...RECOVERY,
  ...CONNECTIONS,
  ...SERVER,
  ...LOCKS,
  ...FENCING,
  ...PROCESSES,
  ...SUSPENSIONS,
  ...PIPES,
  ...TRUNCATIONS,
  ...CREATORS,
  ...SESSIONS,
  ...MOVES,
  ...EMBEDDED,
  ...CONTROLS,
];
