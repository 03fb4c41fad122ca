import type { Row } from './benchmark.js';
import type { Timed } from './measure.js';

export interface Bar {
  readonly work: string;
  /** The ratio that must not be exceeded. */
  readonly atMost?: number | undefined;
  /** Of our process, in MiB. */
  readonly peakMb?: number;
}

/** The row of `ours` against the first variant of a comparison. */
export function ratioRow({ work, atMost, peakMb }: Bar, reference: Timed, ours: Timed): Row {
  const isLight = peakMb === undefined || ours.peakMb <= peakMb;
  return {
    work,
    reference: reference.name,
    figure: ours.ratio.toFixed(2),
    spread: ours.spread.map((each) => each.toFixed(2)).join(' to '),
    bar: [atMost?.toFixed(2), peakMb && `${peakMb} MB`].filter(Boolean).join(', '),
    isMet: (atMost === undefined || ours.ratio <= atMost) && isLight,
    times: `${milliseconds(ours.medianMs)} / ${milliseconds(reference.medianMs)}`,
    peakMb: ours.peakMb,
  };
}

/** `87 ms`, `12.3 s` */
export function milliseconds(ms: number): string {
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
