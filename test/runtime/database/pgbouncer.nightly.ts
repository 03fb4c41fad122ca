// Needs the program pgbouncer in PATH. npm does not install pgbouncer.
import { startPgBouncer } from '../../support/pgbouncer.js';
import { describeBehindPooler } from './behind-pooler.js';

describeBehindPooler('PgBouncer', startPgBouncer);
