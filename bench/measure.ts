import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** One whole process that is timed. */
export interface Variant {
  readonly name: string;
  readonly argv: readonly [program: string, ...args: string[]];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Before each of its rounds; not timed. */
  readonly before?: () => Promise<unknown>;
  /** After each of its rounds; not timed. Throws when the work was not done. */
  readonly after?: () => Promise<unknown>;
}

/** What one variant took, in milliseconds, and what it printed last. */
export interface Timed {
  readonly name: string;
  readonly medianMs: number;
  /** The largest resident set of the process, in MiB, in a round that is not timed. */
  readonly peakMb: number;
  /** The median, over the rounds, of its time by that of the first variant in the same round. */
  readonly ratio: number;
  /** The quartiles of the same. */
  readonly spread: readonly [low: number, high: number];
}

const WRITE_PEAK = fileURLToPath(new URL('./programs/write-peak.cjs', import.meta.url));
const SAMPLE_MS = 5;
const WARM_UPS = 1;

/**
 * Runs all variants once a round, in an order that turns, and compares them with the first one round by round: what
 * else the machine does slows all of them down alike.
 */
export async function compare(variants: readonly Variant[], rounds: number): Promise<readonly Timed[]> {
  const peaks = new Map<string, number>();
  for (let n = 0; n < WARM_UPS; n++)
    for (const variant of variants) peaks.set(variant.name, await measurePeak(variant));
  const times = variants.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < variants.length; i++) {
      const index = (i + round) % variants.length;
      const variant = variants[index];
      if (variant) times[index]?.push(await timeOf(variant));
    }
  }
  const [base = []] = times;
  return variants.map(({ name }, index) => {
    const own = times[index] ?? [];
    const ratios = own.map((ms, round) => ms / (base[round] ?? Number.NaN));
    return {
      name,
      medianMs: quantile(own, 0.5),
      peakMb: peaks.get(name) ?? Number.NaN,
      ratio: quantile(ratios, 0.5),
      spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
    };
  });
}

/** Of the numbers in ascending order, the one that this part of them lies below. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** Runs it once, and says how many milliseconds that took. */
export async function timeOf(variant: Variant): Promise<number> {
  await variant.before?.();
  const startedAt = performance.now();
  const child = start(variant);
  await ended(variant, child);
  const ms = performance.now() - startedAt;
  await variant.after?.();
  return ms;
}

/**
 * Runs it once, and returns the largest resident set of the process in MiB, as the Linux kernel counts it; 0 elsewhere. A
 * Node process writes its own figure at its exit, another program is sampled.
 */
async function measurePeak(variant: Variant): Promise<number> {
  await variant.before?.();
  const folder = await mkdtemp(join(tmpdir(), 'etl-peak-'));
  const file = join(folder, 'peak');
  const preload =
    platform() === 'linux' ? { NODE_OPTIONS: `--require=${WRITE_PEAK}`, ETL_BENCH_PEAK: file } : {};
  const child = start({ ...variant, env: { ...variant.env, ...preload } });
  let peakKb = 0;
  const over = ended(variant, child);
  while (child.exitCode === null && child.signalCode === null) {
    peakKb = Math.max(peakKb, await readHighWaterMark(child.pid));
    await delay(SAMPLE_MS);
  }
  await over;
  peakKb = Math.max(peakKb, Number(await readFile(file, 'utf8').catch(() => 0)));
  await rm(folder, { recursive: true });
  await variant.after?.();
  return peakKb / 1024;
}

/** The kernel's high-water mark of a process in kB; 0 where there is no such figure. */
async function readHighWaterMark(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0);
}

type Child = ReturnType<typeof start>;

function start({ argv: [program, ...args], env, cwd }: Variant) {
  return spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function ended({ name }: Variant, child: Child): Promise<void> {
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${said}`);
}
