// Preloaded into a measured Node process. Writes the kernel's largest resident set of the process, in kB, when the
// process exits. Sampling from outside would miss the last milliseconds.
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');

process.on('exit', () => {
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  if (peak !== undefined) writeFileSync(process.env.ETL_BENCH_PEAK, peak);
});
