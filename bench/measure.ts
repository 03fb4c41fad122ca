import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A program whose whole process is measured. */
export interface Variant {
  readonly name: string;
  readonly argv: readonly [program: string, ...args: string[]];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Called before each round; not measured. */
  readonly before?: () => Promise<unknown>;
  /** Called after each round; not measured. Throws if the work was not done. */
  readonly after?: () => Promise<unknown>;
}

/** The measurements of one variant. */
export interface Timed {
  readonly name: string;
  readonly medianMs: number;
  /** The largest resident set of the process, in MiB, in a warm-up round. */
  readonly peakMb: number;
  /**
   * The median of the ratios of all rounds. A ratio is the variant's time divided by the first variant's time in the
   * same round.
   */
  readonly ratio: number;
  /** The quartiles of these ratios. */
  readonly spread: readonly [low: number, high: number];
}

const WRITE_PEAK = fileURLToPath(new URL('./programs/write-peak.cjs', import.meta.url));
const SAMPLE_MS = 5;
const WARM_UPS = 1;

/**
 * Runs each variant once a round, in an order that rotates, and compares each with the first variant of the same round.
 * Other work of the machine slows down all variants of a round alike.
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
      if (variant) times[index]?.push(await measureTime(variant));
    }
  }
  const [base = []] = times;
  return variants.map(({ name }, index) => {
    const own = times[index] ?? [];
    const ratios = own.map((ms, round) => ms / (base[round] ?? Number.NaN));
    return {
      name,
      medianMs: computeQuantile(own, 0.5),
      peakMb: peaks.get(name) ?? Number.NaN,
      ratio: computeQuantile(ratios, 0.5),
      spread: [computeQuantile(ratios, 0.25), computeQuantile(ratios, 0.75)],
    };
  });
}

/** Returns the quantile `part`, from 0 to 1, of the values. Returns NaN if there are no values. */
export function computeQuantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** Runs a variant once and returns its time in milliseconds. Throws if the process fails. */
export async function measureTime(variant: Variant): Promise<number> {
  await variant.before?.();
  const startedAt = performance.now();
  const child = start(variant);
  await waitForEnd(variant, child);
  const ms = performance.now() - startedAt;
  await variant.after?.();
  return ms;
}

/**
 * Runs a variant once and returns the largest resident set of the process in MiB, as the Linux kernel counts it.
 * Returns 0 on other systems. A Node process writes its own figure at its exit. For another program, this function
 * reads the figure every 5 ms.
 */
async function measurePeak(variant: Variant): Promise<number> {
  await variant.before?.();
  const folder = await mkdtemp(join(tmpdir(), 'etl-peak-'));
  const file = join(folder, 'peak');
  const preload =
    platform() === 'linux' ? { NODE_OPTIONS: `--require=${WRITE_PEAK}`, ETL_BENCH_PEAK: file } : {};
  const child = start({ ...variant, env: { ...variant.env, ...preload } });
  let peakKb = 0;
  const over = waitForEnd(variant, child);
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

/** Reads the kernel's largest resident set of a process in kB. Returns 0 if the kernel has no such figure. */
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

async function waitForEnd({ name }: Variant, child: Child): Promise<void> {
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${said}`);
}
