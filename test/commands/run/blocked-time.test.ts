import { expect } from 'chai';
import fc from 'fast-check';
import { BlockedTime } from '../../../src/commands/run/blocked-time.js';

const TICK_MS = 1000;

describe('the time for which an event loop is blocked', () => {
  it('is the time since the counter was last seen to change', () => {
    const time = new BlockedTime(TICK_MS, 0);
    expect(time.look(1, 1000)).to.equal(0);
    expect(time.look(1, 2000)).to.equal(1000);
    expect(time.look(1, 3500)).to.equal(2500);
    expect(time.look(2, 4500)).to.equal(0);
  });

  it('does not grow while the whole process stands still, however long and however often', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ suspendedMs: fc.integer({ min: 0, max: 86_400_000 }), beats: fc.boolean() }), {
          maxLength: 200,
        }),
        (looks) => {
          const time = new BlockedTime(TICK_MS, 0);
          let [now, beats, ranMs] = [0, 0, 0];
          for (const look of looks) {
            now += TICK_MS + look.suspendedMs;
            ranMs += TICK_MS;
            if (look.beats) [beats, ranMs] = [beats + 1, 0];
            // A tick that is up to a tick late can be part of an ordinary load.
            expect(time.look(beats, now)).to.be.at.most(2 * ranMs);
          }
        },
      ),
    );
  });

  it('grows up to any limit for an event loop that stays blocked, if the looks are a little late', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: TICK_MS - 1 }), { minLength: 100, maxLength: 100 }),
        (late) => {
          const time = new BlockedTime(TICK_MS, 0);
          let now = 0;
          let blockedMs = 0;
          for (const ms of late) blockedMs = time.look(7, (now += TICK_MS + ms));
          expect(blockedMs).to.be.at.least(99 * TICK_MS);
        },
      ),
    );
  });
});
