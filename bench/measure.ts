import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
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
  /** The times from the start of the process to its end. */
  readonly wall: Times;
  /** The processor times of the process, in user and system mode. NaN if the process is not Node. */
  readonly cpu: Times;
  /** The largest resident set of the process, in MiB, in a warm-up round. */
  readonly peakMb: number;
}

/** The times of one variant in all rounds. */
export interface Times {
  readonly medianMs: number;
  /**
   * The median of the ratios of all rounds. A ratio is the variant's time divided by the first variant's time in the
   * same round.
   */
  readonly ratio: number;
  /** The quartiles of these ratios. */
  readonly spread: readonly [low: number, high: number];
}

const WRITE_USAGE = fileURLToPath(new URL('./programs/write-usage.cjs', import.meta.url));
const SAMPLE_MS = 5;
const WARM_UPS = 1;

/**
 * Runs each variant once a round, in an order that rotates, and compares each with the first variant of the same round.
 * Other work of the machine slows down all variants of a round alike.
 */
export async function compare(variants: readonly Variant[], rounds: number): Promise<readonly Timed[]> {
  const peaks = new Map<string, number>();
  for (let n = 0; n < WARM_UPS; n++)
    for (const variant of variants) peaks.set(variant.name, (await measureUsage(variant)).peakMb);
  const usages = variants.map((): Usage[] => []);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < variants.length; i++) {
      const index = (i + round) % variants.length;
      const variant = variants[index];
      if (variant) usages[index]?.push(await measureUsage(variant));
    }
  }
  const [base = []] = usages;
  return variants.map(({ name }, index) => {
    const own = usages[index] ?? [];
    const summarize = (of: (usage: Usage) => number): Times => summarizeTimes(own.map(of), base.map(of));
    return {
      name,
      wall: summarize(({ ms }) => ms),
      cpu: summarize(({ cpuMs }) => cpuMs),
      peakMb: peaks.get(name) ?? Number.NaN,
    };
  });
}

function summarizeTimes(own: readonly number[], base: readonly number[]): Times {
  const ratios = own.map((ms, round) => ms / (base[round] ?? Number.NaN));
  return {
    medianMs: computeQuantile(own, 0.5),
    ratio: computeQuantile(ratios, 0.5),
    spread: [computeQuantile(ratios, 0.25), computeQuantile(ratios, 0.75)],
  };
}

/** Returns the quantile `part`, from 0 to 1, of the values. Returns NaN if there are no values. */
export function computeQuantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** The time and the memory of one process. */
export interface Usage {
  readonly ms: number;
  readonly cpuMs: number;
  readonly peakMb: number;
}

/**
 * Runs a variant once. Throws if the process fails. The processor time and the largest resident set are those of the
 * kernel. A Node process writes both at its exit. For another program, this function reads the resident set every 5 ms
 * on Linux.
 */
export async function measureUsage(variant: Variant): Promise<Usage> {
  await variant.before?.();
  const folder = await mkdtemp(join(tmpdir(), 'etl-usage-'));
  const file = join(folder, 'usage');
  const preload = { NODE_OPTIONS: `--require=${WRITE_USAGE}`, ETL_BENCH_USAGE: file };
  const startedAt = performance.now();
  const child = start({ ...variant, env: { ...variant.env, ...preload } });
  let peakKb = 0;
  const over = waitForEnd(variant, child).then(() => performance.now() - startedAt);
  const isNode = variant.argv[0] === process.execPath;
  while (child.exitCode === null && child.signalCode === null) {
    if (isNode) break;
    peakKb = Math.max(peakKb, await readHighWaterMark(child.pid));
    await delay(SAMPLE_MS);
  }
  const ms = await over;
  const written = isNode ? await readFile(file, 'utf8') : `${peakKb} NaN`;
  await rm(folder, { recursive: true });
  await variant.after?.();
  const [kb, us] = written.split(' ').map(Number);
  return { ms, cpuMs: (us ?? Number.NaN) / 1000, peakMb: (kb ?? Number.NaN) / 1024 };
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
