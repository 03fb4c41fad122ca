import { expect } from 'chai';
import type { Client } from 'pg';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { prepareHighWatermark, type Incremental } from '../../../src/runtime/watermark/incremental.js';
import { MessageSnapshot } from '../../errors/message-snapshot.js';
import { ReplicaPair } from '../../support/replica.js';

describe('an incremental task that reads from a replica', () => {
  let pair: ReplicaPair;
  let primary: Client;
  let replica: Client;
  const snapshot = new MessageSnapshot('replica');
  before(async () => {
    pair = await ReplicaPair.start();
    primary = await pair.connect('primary');
    replica = await pair.connect('replica');
    await primary.query(`create table orders (id bigint generated always as identity, at timestamptz not null default now(),
      tx xid8 not null default pg_current_xact_id())`);
    await waitForReplay();
  });
  after(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  /** Resolves when the replica has replayed everything that the primary has committed. */
  async function waitForReplay(): Promise<void> {
    const { rows } = await primary.query('select pg_current_wal_lsn() as lsn');
    for (;;) {
      const { rows: seen } = await replica.query('select pg_last_wal_replay_lsn() >= $1 as yes', [
        rows[0].lsn,
      ]);
      if (seen[0].yes === true) return;
    }
  }
  const findHigh = async (incremental: Incremental) => {
    const signal = new AbortController().signal;
    const find = await prepareHighWatermark(replica as unknown as ProtocolClient, incremental, {
      source: { table: 'orders' },
      signal,
    });
    return find();
  };

  for (const cursor of ['at', 'id', 'tx']) {
    it(`refuses the cursor "${cursor}" without a lag`, async () => {
      const error = await findHigh({ cursor }).catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'ETL-3708' });
      snapshot.addError('ETL-3708', error, { cursor });
    });
  }

  it('has the message of the snapshot', () => snapshot.compare());

  it('reads up to the last replayed transaction, less the lag', async () => {
    await primary.query('insert into orders default values');
    await waitForReplay();
    const { high = '' } = await findHigh({ cursor: 'at', lag: '1m' });
    const { rows } = await replica.query(
      `select pg_last_xact_replay_timestamp() - interval '1 minute' = $1::timestamptz as same, max(at) > $1 as waits from orders`,
      [high],
    );
    expect(rows).to.deep.equal([{ same: true, waits: true }]);
  });
});
