import { expect } from 'chai';
import * as fc from 'fast-check';
import { EtlError } from '../../../src/errors.js';
import {
  findIntervalContaining,
  findLastCompleteInterval,
  parseSchedule,
  type DataInterval,
  type Schedule,
} from '../../../src/runtime/interval/interval.js';

/** Timezones, each with instants at which its clocks changed. */
const ZONES: readonly (readonly [string, readonly string[]])[] = [
  ['UTC', ['2024-02-29T00:00Z', '2024-12-31T23:00Z']],
  ['Europe/Berlin', ['2024-03-31T01:00Z', '2024-10-27T01:00Z']],
  ['Europe/London', ['2024-03-31T01:00Z', '2024-10-27T01:00Z']],
  ['Europe/Dublin', ['2024-03-31T01:00Z', '2024-10-27T01:00Z']],
  ['Atlantic/Azores', ['2024-03-31T01:00Z', '2024-10-27T01:00Z']],
  ['America/New_York', ['2024-03-10T07:00Z', '2024-11-03T06:00Z']],
  ['America/Los_Angeles', ['2024-03-10T10:00Z', '2024-11-03T09:00Z']],
  ['America/St_Johns', ['2024-03-10T05:30Z', '2024-11-03T04:30Z']],
  ['America/Sao_Paulo', ['2018-02-18T02:00Z', '2018-11-04T03:00Z']],
  ['America/Santiago', ['2024-04-07T03:00Z', '2024-09-08T04:00Z']],
  ['America/Havana', ['2024-03-10T05:00Z', '2024-11-03T05:00Z']],
  ['America/Caracas', ['2007-12-09T07:00Z', '2016-05-01T07:00Z']],
  ['Africa/Casablanca', ['2024-03-10T02:00Z', '2024-04-14T02:00Z']],
  ['Africa/Cairo', ['2024-04-25T22:00Z', '2024-10-31T21:00Z']],
  ['Asia/Beirut', ['2024-03-30T22:00Z', '2024-10-26T21:00Z']],
  ['Asia/Kathmandu', ['2024-01-01T00:00Z']],
  ['Asia/Tehran', ['2022-03-21T20:30Z', '2022-09-21T19:30Z']],
  ['Australia/Lord_Howe', ['2024-04-06T15:00Z', '2024-10-05T15:30Z']],
  ['Pacific/Chatham', ['2024-04-06T14:00Z', '2024-09-28T14:00Z']],
  ['Antarctica/Troll', ['2024-03-31T01:00Z', '2024-10-27T01:00Z']],
];

const MINUTE = 60_000;

function scheduleOf(schedule: string, timezone?: string, startDate?: string): Schedule {
  const parsed = parseSchedule({ schedule, timezone, startDate });
  if (!parsed) throw new Error(`no schedule in ${schedule}`);
  return parsed;
}

function span(interval: DataInterval | undefined): string {
  return interval
    ? `${interval.start.toISOString()} ${interval.end.toISOString()}`.replaceAll(':00.000Z', 'Z')
    : 'none';
}

describe('parseSchedule', () => {
  const accepted: readonly [string, string][] = [
    ['@hourly', '0 * * * *'],
    ['@daily', '0 0 * * *'],
    ['@weekly', '0 0 * * 0'],
    ['@monthly', '0 0 1 * *'],
    ['@quarterly', '0 0 1 */3 *'],
    ['@yearly', '0 0 1 1 *'],
    ['  0\t2 1  * * ', '0 2 1 * *'],
    ['0 2 * * MON-FRI', '0 2 * * MON-FRI'],
    ['0 0 29 2 *', '0 0 29 2 *'],
    ['0 0 L * *', '0 0 L * *'],
    ['0 0 * * FRI#2', '0 0 * * FRI#2'],
    ['0 0 15W * *', '0 0 15W * *'],
  ];
  for (const [text, expression] of accepted) {
    it(`accepts ${JSON.stringify(text)}`, () => {
      expect(scheduleOf(text)).to.include({ text, expression, timezone: 'UTC', startDate: undefined });
    });
  }

  it('returns undefined without a schedule and for @once, and still checks the other options', () => {
    expect(parseSchedule({})).to.equal(undefined);
    expect(parseSchedule({ schedule: '@once', startDate: '2020-01-01' })).to.equal(undefined);
    expect(() => parseSchedule({ timezone: 'Mars/Phobos' })).to.throw(EtlError, /timezone/);
  });

  const refused: readonly [string, RegExp][] = [
    ['', /it has 0 fields/],
    ['31 2 *', /it has 3 fields/],
    ['* * * * * *', /it has 6 fields/],
    ['0 0 0 1 1 * 2026', /it has 7 fields/],
    ['@reboot', /start of a machine/],
    ['@continuous', /does not start the next run/],
    ['@dayly', /did you mean "@daily"/],
    ['H 2 * * *', /Jenkins/],
    ['H(0-29)/10 * * * *', /Jenkins/],
    ['60 * * * *', /minute/],
    ['0 24 * * *', /hour/],
    ['0 0 0 * *', /day/],
    ['0 0 * 13 *', /month/],
    ['0 0 * * 8', /dayOfWeek/],
    ['0 22-3 * * *', /22-3/],
    ['*/0 * * * *', /stepping/],
    ['5/5 * * * *', /stepping/],
    ['0 0 1,,2 * *', /empty/],
    ['1.5 * * * *', /illegal/],
    ['0 0 30 2 *', /no such date/],
    ['2026-03-05T00:00:00Z', /it has 1 fields/],
  ];
  for (const [schedule, why] of refused) {
    it(`refuses ${JSON.stringify(schedule)} and says why`, () => {
      expect(() => parseSchedule({ schedule }))
        .to.throw(EtlError, JSON.stringify(schedule))
        .that.includes({ code: 'ETL-2304' })
        .and.has.property('why')
        .that.matches(why);
    });
  }

  const timezones: readonly [unknown, boolean][] = [
    ['Europe/Berlin', true],
    ['Australia/Lord_Howe', true],
    ['utc', true],
    ['', false],
    ['Mars/Phobos', false],
    ['+02:00', false],
    ['UTC+1', false],
    [2, false],
  ];
  for (const [timezone, ok] of timezones) {
    it(`${ok ? 'accepts' : 'refuses'} the timezone ${JSON.stringify(timezone)}`, () => {
      const parse = (): unknown => parseSchedule({ schedule: '@daily', timezone: timezone as string });
      if (ok) expect(parse()).to.include({ timezone });
      else
        expect(parse)
          .to.throw(EtlError, /`timezone`/)
          .with.property('code', 'ETL-2304');
    });
  }

  const startDates: readonly [unknown, string | undefined][] = [
    ['2020-08-01', '2020-08-01T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2020-08-01T02:30', '2020-08-01T02:30:00.000Z'],
    ['2020-08-01T02:30:15.5', '2020-08-01T02:30:15.500Z'],
    ['2020-08-01T02:30:00Z', '2020-08-01T02:30:00.000Z'],
    ['2020-08-01T02:30:00+02:00', '2020-08-01T00:30:00.000Z'],
    ['2020-08-01T02:30-0530', '2020-08-01T08:00:00.000Z'],
    ['2024-02-30', undefined],
    ['2023-02-29', undefined],
    ['2020-13-01', undefined],
    ['2020-08-01T24:00', undefined],
    ['2020-08-01T02:60', undefined],
    ['2016-12-31T23:59:60Z', undefined],
    ['2020-08-01T02:30+15:00', undefined],
    ['2020-8-1', undefined],
    ['01.08.2020', undefined],
    ['12020-08-01', undefined],
    ['2020-08-01\n', undefined],
    ['tomorrow', undefined],
    ['', undefined],
    [1_596_240_000_000, undefined],
  ];
  for (const [startDate, instant] of startDates) {
    it(`${instant ? 'accepts' : 'refuses'} the start date ${JSON.stringify(startDate)}`, () => {
      const definition = { schedule: '@daily', timezone: 'Europe/Berlin', startDate: startDate as string };
      if (instant) expect(parseSchedule(definition)?.startDate?.toISOString()).to.equal(instant);
      else
        expect(() => parseSchedule(definition))
          .to.throw(EtlError, /`startDate`/)
          .with.property('code', 'ETL-2304');
    });
  }
});

describe('findLastCompleteInterval', () => {
  const monthly = scheduleOf('0 2 1 * *', 'UTC', '2020-08-01');
  const berlin = scheduleOf('30 2 * * *', 'Europe/Berlin');
  const rows: readonly [string, Schedule, string, string][] = [
    ['the first interval at its end', monthly, '2020-09-01T02:00:00Z', '2020-08-01T02:00Z 2020-09-01T02:00Z'],
    [
      'the first interval until just before the end of the second',
      monthly,
      '2020-10-01T01:59:59.999Z',
      '2020-08-01T02:00Z 2020-09-01T02:00Z',
    ],
    [
      'the second interval at its end',
      monthly,
      '2020-10-01T02:00:00.001Z',
      '2020-09-01T02:00Z 2020-10-01T02:00Z',
    ],
    [
      '24.5 hours that end at a skipped time',
      berlin,
      '2024-03-31T12:00:00Z',
      '2024-03-30T01:30Z 2024-03-31T01:00Z',
    ],
    [
      '23.5 hours that start at a skipped time',
      berlin,
      '2024-04-01T12:00:00Z',
      '2024-03-31T01:00Z 2024-04-01T00:30Z',
    ],
    [
      '25 hours that start at a repeated time',
      berlin,
      '2024-10-28T12:00:00Z',
      '2024-10-27T00:30Z 2024-10-28T01:30Z',
    ],
    [
      'one hour for each of two hours with the same local time',
      scheduleOf('@hourly', 'Europe/Berlin'),
      '2024-10-27T01:10:00Z',
      '2024-10-27T00:00Z 2024-10-27T01:00Z',
    ],
    [
      'a day to a skipped time in New York',
      scheduleOf('0 2 * * *', 'America/New_York'),
      '2024-03-10T12:00:00Z',
      '2024-03-09T07:00Z 2024-03-10T07:00Z',
    ],
    [
      'a day to a repeated time in New York',
      scheduleOf('0 1 * * *', 'America/New_York'),
      '2024-11-03T12:00:00Z',
      '2024-11-02T05:00Z 2024-11-03T05:00Z',
    ],
    [
      'a day in a timezone whose clocks change by half an hour',
      scheduleOf('45 1 * * *', 'Australia/Lord_Howe'),
      '2024-04-07T12:00:00Z',
      '2024-04-05T14:45Z 2024-04-06T14:45Z',
    ],
    [
      'four years from leap day to leap day',
      scheduleOf('0 0 29 2 *'),
      '2026-01-01T00:00:00Z',
      '2020-02-29T00:00Z 2024-02-29T00:00Z',
    ],
    [
      'the days that match the day of month or the day of week',
      scheduleOf('0 0 13 * 5'),
      '2024-03-15T00:00:00Z',
      '2024-03-13T00:00Z 2024-03-15T00:00Z',
    ],
    ['a quarter', scheduleOf('@quarterly'), '2024-06-30T00:00:00Z', '2024-01-01T00:00Z 2024-04-01T00:00Z'],
  ];
  for (const [title, schedule, now, expected] of rows) {
    it(`returns ${title}`, () => {
      const interval = findLastCompleteInterval(schedule, new Date(now));
      expect(span(interval)).to.equal(expected);
      expect(interval?.logicalDate).to.equal(interval?.start);
    });
  }

  it('returns undefined without a schedule', () => {
    expect(findLastCompleteInterval(undefined, new Date())).to.equal(undefined);
  });

  it('throws if no interval has ended, and says when the first one ends', () => {
    for (const now of ['2020-09-01T01:59:59.999Z', '2020-08-01T02:00:00Z', '2019-01-01T00:00:00Z']) {
      expect(() => findLastCompleteInterval(monthly, new Date(now)))
        .to.throw(EtlError)
        .that.includes({ code: 'ETL-2005', exitCode: 2 })
        .and.has.property('fix')
        .that.matches(/at or after 2020-09-01T02:00:00.000Z/);
    }
  });

  it('starts the first interval at the first tick after a start date that is not a tick', () => {
    const schedule = scheduleOf('0 2 * * *', 'UTC', '2026-03-05T02:00:01Z');
    expect(span(findLastCompleteInterval(schedule, new Date('2026-03-07T02:00:00Z')))).to.equal(
      '2026-03-06T02:00Z 2026-03-07T02:00Z',
    );
    expect(() => findLastCompleteInterval(schedule, new Date('2026-03-07T01:59:00Z'))).to.throw(EtlError);
  });
});

describe('findIntervalContaining', () => {
  const now = new Date('2026-06-01T12:00:00Z');
  const daily = scheduleOf('@daily', 'Europe/Berlin', '2026-01-01');
  const rows: readonly [string, Schedule, string, string][] = [
    ['a day', daily, '2026-03-05', '2026-03-04T23:00Z 2026-03-05T23:00Z'],
    ['a day of 23 hours', daily, '2026-03-29', '2026-03-28T23:00Z 2026-03-29T22:00Z'],
    ['an instant', daily, '2026-03-05T00:30:00+01:00', '2026-03-04T23:00Z 2026-03-05T23:00Z'],
    [
      'a tick, which starts at the tick',
      daily,
      '2026-03-05T23:00:00Z',
      '2026-03-05T23:00Z 2026-03-06T23:00Z',
    ],
    ['the instant before a tick', daily, '2026-03-05T22:59:59.999Z', '2026-03-04T23:00Z 2026-03-05T23:00Z'],
    ['the last day that has ended', daily, '2026-05-31', '2026-05-30T22:00Z 2026-05-31T22:00Z'],
    [
      'a day that starts at 01:00',
      scheduleOf('@daily', 'America/Sao_Paulo'),
      '2018-11-04',
      '2018-11-04T03:00Z 2018-11-05T02:00Z',
    ],
    [
      'a day with two midnights',
      scheduleOf('@daily', 'America/Havana'),
      '2024-11-03',
      '2024-11-03T04:00Z 2024-11-04T05:00Z',
    ],
    ['a leap day', scheduleOf('@daily'), '2024-02-29', '2024-02-29T00:00Z 2024-03-01T00:00Z'],
  ];
  for (const [title, schedule, date, expected] of rows) {
    it(`returns the interval of ${title}`, () =>
      expect(span(findIntervalContaining(schedule, date, now))).to.equal(expected));
  }

  const refused: readonly [string, Schedule | undefined, string, RegExp][] = [
    [
      'a day that has not ended',
      daily,
      '2026-06-01',
      /\[2026-06-01 00:00, 2026-06-02 00:00\) Europe\/Berlin.*not ended/,
    ],
    ['a day in the future', daily, '2030-01-01', /not ended/],
    ['a day before the start date', daily, '2025-12-31', /before the first data interval/],
    ['a date for a Dag without a schedule', undefined, '2026-03-05', /no schedule/],
    ['a day that does not exist', daily, '2024-02-30', /"2024-02-30"/],
    ['the time 24:00', daily, '2026-03-05T24:00:00Z', /"2026-03-05T24:00:00Z"/],
    ['a time without an offset', daily, '2026-03-05T10:00', /"2026-03-05T10:00"/],
    ['a day that the timezone skipped', scheduleOf('@daily', 'Pacific/Apia'), '2011-12-30', /"2011-12-30"/],
    ['a word', daily, 'yesterday', /"yesterday"/],
  ];
  for (const [title, schedule, date, message] of refused) {
    it(`refuses ${title}`, () => {
      expect(() => findIntervalContaining(schedule, date, now))
        .to.throw(EtlError, message)
        .with.property('code', 'ETL-2005');
    });
  }
});

describe('intervals in 20 timezones', () => {
  const days = fc.oneof(
    { weight: 5, arbitrary: fc.constant('* * *') },
    field(1, 28).map((day) => `${day} * *`),
    field(0, 6).map((weekday) => `* * ${weekday}`),
    field(1, 12).map((month) => `* ${month} *`),
    fc.tuple(fc.integer({ min: 1, max: 28 }), fc.integer({ min: 0, max: 7 })).map(([d, w]) => `${d} * ${w}`),
  );
  const expressions = fc
    .tuple(
      field(0, 59),
      fc.oneof(field(0, 23), field(0, 3), fc.integer({ max: 3, min: 0 }).map(String)),
      days,
    )
    .map((fields) => fields.join(' '));

  it('are the same as those that a search of every minute finds', () => {
    fc.assert(
      fc.property(expressions, fc.constantFrom(...ZONES), fc.nat(), (expression, [timezone, changes], n) => {
        const change = changes[n % changes.length] ?? '';
        const from = Date.parse(change) - (36 + (n % 24)) * 3_600_000;
        const ticks = ticksOf(expression, timezone, from, from + 4 * 86_400_000);
        const schedule = scheduleOf(expression, timezone);
        const later = new Date('2100-01-01');
        expect(schedule.findTickAfter(new Date(from - 1))?.getTime() ?? Infinity).to.satisfy(
          (first: number) => (ticks[0] === undefined ? first >= from + 4 * 86_400_000 : first === ticks[0]),
        );
        for (const [i, start] of ticks.slice(0, 60).entries()) {
          const end = ticks[i + 1];
          if (end === undefined) break;
          const expected = { start: new Date(start), end: new Date(end), logicalDate: new Date(start) };
          expect(findLastCompleteInterval(schedule, new Date(end))).to.deep.equal(expected);
          const inside = new Date(start + (n % (end - start)));
          expect(findIntervalContaining(schedule, inside.toISOString(), later)).to.deep.equal(expected);
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** Returns an arbitrary cron field with numbers, lists, ranges or steps. */
function field(low: number, high: number): fc.Arbitrary<string> {
  const one = fc.integer({ min: low, max: high });
  return fc.oneof(
    fc.constant('*'),
    one.map(String),
    fc.integer({ min: 2, max: high }).map((step) => `*/${step}`),
    fc.uniqueArray(one, { minLength: 2, maxLength: 3 }).map((list) => list.join(',')),
    fc.tuple(one, one).map(([a, b]) => (a < b ? `${a}-${b}` : String(a))),
  );
}

/**
 * Finds the ticks in `[from, to)` by checking every minute. An expression with one minute and one hour ticks once a
 * day: after a gap that skips the time, or at the first of two such times. Any other expression ticks whenever the
 * local clock shows a matching time.
 */
function ticksOf(expression: string, timezone: string, from: number, to: number): number[] {
  const matches = matcherOf(expression);
  const [minute = '', hour = ''] = expression.split(' ');
  const once = /^\d+$/.test(minute) && /^\d+$/.test(hour);
  const localOf = localClock(timezone);
  const ticks: number[] = [];
  for (let t = from; t < to; t += MINUTE) {
    const local = localOf(t);
    const before = localOf(t - MINUTE);
    if (once ? skippedTo(before, local).some(matches) && isFirst(t, local, localOf) : matches(local))
      ticks.push(t);
  }
  return ticks;
}

/** Returns the local minutes after `before` up to `local`: several after a gap, and only `local` after a step back. */
function skippedTo(before: number, local: number): number[] {
  const minutes = [local];
  for (let skipped = local - MINUTE; skipped > before; skipped -= MINUTE) minutes.push(skipped);
  return minutes;
}

function isFirst(t: number, local: number, localOf: (t: number) => number): boolean {
  for (let earlier = t - 4 * 60 * MINUTE; earlier < t; earlier += MINUTE) {
    if (localOf(earlier) === local) return false;
  }
  return true;
}

/**
 * Returns a function that converts an instant to local time, written as if it were UTC. The function asks Intl only
 * once for each quarter of an hour, because clocks change only at quarters.
 */
function localClock(timezone: string): (t: number) => number {
  const format = new Intl.DateTimeFormat('sv', {
    timeZone: timezone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  const offsets = new Map<number, number>();
  return (t) => {
    const quarter = t - (t % (15 * MINUTE));
    let offset = offsets.get(quarter);
    if (offset === undefined) {
      offset = Date.parse(`${format.format(quarter).replace(' ', 'T')}Z`) - quarter;
      offsets.set(quarter, offset);
    }
    return t + offset;
  };
}

function matcherOf(expression: string): (local: number) => boolean {
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = expression.split(' ');
  const [minutes, hours, days] = [valuesOf(minute, 0, 59), valuesOf(hour, 0, 23), valuesOf(day, 1, 31)];
  const [months, weekdays] = [valuesOf(month, 1, 12), valuesOf(weekday, 0, 7)];
  if (weekdays.has(7)) weekdays.add(0);
  const either = day !== '*' && weekday !== '*';
  return (local) => {
    const date = new Date(local);
    if (!minutes.has(date.getUTCMinutes()) || !hours.has(date.getUTCHours())) return false;
    if (!months.has(date.getUTCMonth() + 1)) return false;
    const [dayHas, weekdayHas] = [days.has(date.getUTCDate()), weekdays.has(date.getUTCDay())];
    return either ? dayHas || weekdayHas : dayHas && weekdayHas;
  };
}

function valuesOf(text: string, low: number, high: number): Set<number> {
  const all = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  if (text === '*') return new Set(all);
  if (text.startsWith('*/'))
    return new Set(all.filter((value) => (value - low) % Number(text.slice(2)) === 0));
  const [from = NaN, to] = text.split('-').map(Number);
  return new Set(to === undefined ? text.split(',').map(Number) : all.filter((v) => v >= from && v <= to));
}
