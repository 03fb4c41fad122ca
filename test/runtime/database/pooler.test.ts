import { startTransactionPooler } from '../../support/transaction-pooler.js';
import { describeBehindPooler } from './behind-pooler.js';

describeBehindPooler('a pooler', () => startTransactionPooler());
