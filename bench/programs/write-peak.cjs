// Preloaded into a measured Node process: writes the kernel's high-water mark of its memory, in kB, when the process exits.
// Sampling from outside misses the last milliseconds.
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');

process.on('exit', () => {
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  if (peak !== undefined) writeFileSync(process.env.ETL_BENCH_PEAK, peak);
});
