import type { Row } from './benchmark.js';
import type { Timed } from './measure.js';

/** The work of a row and its largest allowed figures. */
export interface Limit {
  readonly work: string;
  /** The largest allowed ratio. Undefined if there is no limit. */
  readonly atMost?: number | undefined;
  /** The largest allowed resident set of our process, in MiB. */
  readonly peakMb?: number;
}

/** Creates the row that compares the time of `ours`, or its processor time, with the reference. */
export function createRatioRow(
  { work, atMost, peakMb }: Limit,
  reference: Timed,
  ours: Timed,
  kind: 'wall' | 'cpu' = 'wall',
): Row {
  const isLight = peakMb === undefined || ours.peakMb <= peakMb;
  const { ratio, spread, medianMs } = ours[kind];
  return {
    work,
    reference: reference.name,
    figure: ratio.toFixed(2),
    spread: spread.map((each) => each.toFixed(2)).join(' to '),
    limit: [atMost?.toFixed(2), peakMb && `${peakMb} MB`].filter(Boolean).join(', '),
    isMet: (atMost === undefined || ratio <= atMost) && isLight,
    times: `${formatMilliseconds(medianMs)} / ${formatMilliseconds(reference[kind].medianMs)}`,
    peakMb: ours.peakMb,
  };
}

/** Formats a time, such as `87 ms` or `12.3 s`. */
export function formatMilliseconds(ms: number): string {
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
