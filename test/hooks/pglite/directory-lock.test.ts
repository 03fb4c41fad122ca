import { expect } from 'chai';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { EtlError } from '../../../src/errors.js';
import { lockDirectory } from '../../../src/hooks/pglite/directory-lock.js';
import { getRunFolder } from '../../support/run-folder.js';

/** A pid that no system has. */
const NOBODY = 99_999_999;

describe('lockDirectory', () => {
  let program: string;
  let root: string;
  let directory: string;
  const children: ChildProcess[] = [];

  // Compiles the module to JavaScript once. The 25 processes that import the module then need no compiler.
  before(async () => {
    program = join(await mkdtemp(join(getRunFolder(), 'lock-')), 'directory-lock.mjs');
    const entry = fileURLToPath(new URL('../../../src/hooks/pglite/directory-lock.ts', import.meta.url));
    await build({ entryPoints: [entry], outfile: program, bundle: true, platform: 'node', format: 'esm' });
  });

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-lock-'));
    directory = join(root, 'data');
  });

  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child);
    await rm(root, { recursive: true });
  });

  it('creates one lock file, and leaves no file after release', async () => {
    const lock = await lockDirectory(directory, process.pid);
    expect(await readdir(root)).to.deep.equal(['data.lock']);
    await lock.release();
    await lock.release();
    expect(await readdir(root)).to.deep.equal([]);
  });

  it('refuses a locked directory and says which process has the lock, on which host and since when', async () => {
    const child = await startHolder();
    const error = await catchRefusal();
    expect(error.code).to.equal('ETL-7502');
    expect(error.exitCode).to.equal(75);
    expect(error.message).to.contain(`process ${child.pid} on ${hostname()} since 20`);
  });

  it('refuses a second lock in the same process', async () => {
    const lock = await lockDirectory(directory, process.pid);
    expect((await catchRefusal()).fix).to.contain('this process');
    await lock.release();
  });

  it('takes over the lock of a process that was killed', async () => {
    await kill(await startHolder());
    expect(await readdir(root)).to.deep.equal(['data.lock']);
    const lock = await lockDirectory(directory, process.pid);
    expect(await readdir(root)).to.deep.equal(['data.lock']);
    await lock.release();
  });

  const others: readonly [title: string, change: Record<string, unknown>, isTaken: boolean][] = [
    ['takes over the lock of a dead process whose pid is in use again', { started: '1' }, true],
    ['takes over the lock of a process of an earlier boot', { boot: 'earlier' }, true],
    ['refuses the lock of another host', { host: 'elsewhere', started: '1' }, false],
    ['refuses the lock of another container', { pidSpace: 'pid:[1]', started: '1' }, false],
    [
      'refuses the lock of a living process, however old the lock is',
      { since: '2001-01-01T00:00:00Z' },
      false,
    ],
  ];
  // Only Linux has the values that tell these processes apart.
  for (const [title, change, isTaken] of process.platform === 'linux' ? others : []) {
    it(title, async () => {
      await lockDirectory(directory, process.pid);
      const path = `${directory}.lock`;
      await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...change }));
      const outcome = await lockDirectory(directory, process.pid).then(
        () => true,
        () => false,
      );
      expect(outcome).to.equal(isTaken);
    });
  }

  for (const text of ['', 'PID=1', 'null', '{"pid":1,"host":"h","token":"../../x"}']) {
    it(`refuses a lock file that etl did not write, and does not touch it: ${JSON.stringify(text)}`, async () => {
      await writeFile(`${directory}.lock`, text);
      expect((await catchRefusal()).message).to.contain('not a lock file');
      expect(await readFile(`${directory}.lock`, 'utf8')).to.equal(text);
    });
  }

  it('gives the lock of a dead process to exactly one of many processes', async () => {
    for (let round = 0; round < 3; round++) {
      const dead = await startHolder();
      await kill(dead);
      const contenders = await Promise.all(Array.from({ length: 6 }, () => startContender()));
      for (const each of contenders) each.child.stdin?.write('go\n');
      const outcomes = await Promise.all(contenders.map((each) => each.next()));
      expect(
        outcomes.filter((outcome) => outcome === 'held'),
        outcomes.join(),
      ).to.have.length(1);
      expect(outcomes.filter((outcome) => outcome === 'ETL-7502')).to.have.length(5);
      for (const { child } of contenders) await kill(child);
      expect(await readdir(root)).to.deep.equal(['data.lock']);
    }
  });

  it('gives the lock of a dead process to exactly one of many calls, even if another process died while it took over', async () => {
    const model = await lockDirectory(directory, process.pid);
    const mine: unknown = JSON.parse(await readFile(`${directory}.lock`, 'utf8'));
    await model.release();
    for (let round = 0; round < 60; round++) {
      let path = `${directory}.lock`;
      for (let depth = 0; depth <= round % 3; depth++) {
        const token = (0x1000_0000_0000 + round * 10 + depth).toString(16);
        await writeFile(path, JSON.stringify({ ...(mine as object), token, pid: NOBODY }));
        path += `.${token}`;
      }
      const settled = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) => startAfterTurns(i, () => lockDirectory(directory, process.pid))),
      );
      const won = settled.filter((each) => each.status === 'fulfilled');
      expect(won, `round ${round}`).to.have.length(1);
      for (const each of settled)
        if (each.status === 'rejected') expect(each.reason.code).to.equal('ETL-7502');
      for (const { value } of won) await value.release();
      expect(await readdir(root)).to.deep.equal([]);
    }
  });

  async function catchRefusal(): Promise<EtlError> {
    const outcome = await lockDirectory(directory, process.pid).catch((error: unknown) => error);
    expect(outcome).to.be.instanceOf(EtlError);
    return outcome as EtlError;
  }

  /** Starts a process that has the lock. */
  async function startHolder(): Promise<ChildProcess> {
    const { child, next } = await startContender();
    child.stdin?.write('go\n');
    expect(await next()).to.equal('held');
    return child;
  }

  /** Starts a process that locks the directory when stdin has a line, and does not exit. */
  async function startContender() {
    const source = `
      import { once } from 'node:events';
      import { lockDirectory } from ${JSON.stringify(pathToFileURL(program).href)};
      console.log('ready');
      await once(process.stdin, 'data');
      console.log(await lockDirectory(${JSON.stringify(directory)}, process.pid).then(() => 'held', (error) => error.code));
      process.stdin.resume();`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const next = async (): Promise<string> => String((await lines.next()).value);
    expect(await next()).to.equal('ready');
    return { child, next };
  }
});

/** Starts some turns of the event loop later, so that the steps of several calls are interleaved. */
async function startAfterTurns<Result>(count: number, work: () => Promise<Result>): Promise<Result> {
  for (let i = 0; i < count * 3; i++) await nextTurn();
  return work();
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
