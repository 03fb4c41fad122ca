// Preloaded into a measured Node process. Writes two figures of the kernel when the process exits: the largest resident
// set in kB (0 if the system is not Linux), and the processor time of all threads in microseconds. Sampling from outside
// would miss the last milliseconds.
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');

process.on('exit', () => {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  writeFileSync(process.env.ETL_BENCH_USAGE, `${readPeak()} ${userCPUTime + systemCPUTime}`);
});

// `maxRSS` of `resourceUsage` would also count the parent process before it started this program.
function readPeak() {
  if (process.platform !== 'linux') return 0;
  return /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0;
}
