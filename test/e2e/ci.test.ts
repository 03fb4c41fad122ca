import { expect } from 'chai';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { parseWorkflowCommand, type WorkflowCommand } from '../support/workflow-command.js';

const CONFIG = `import { dag, defineConfig } from '@oneshot/etl';
const options = { defaults: { conn: 'db' } };
export default defineConfig({ dags: [
  dag('good', options, (d) => { d.sql('one', { sql: 'select 1' }); }),
  dag('bad', options, (d) => {
    const broken =
      d.sql('broken', { sql: 'select 1/0' });
    d.sql('after', { needs: [broken], sql: 'select 1' });
    d.sql('check', { sql: 'select 1', checks: [{ name: 'none', sql: "select 'Ada Lovelace' as name" }] });
    d.session('odd', {}, async () => { throw new Error('100% | <b> \`x\` ::error::\\\\n::set-env name=a::b, c'); });
  }),
  dag('wide', options, (d) => {
    for (let i = 1; i <= 12; i++) d.session('t' + i, {}, async () => { throw new Error('no'); });
  }),
] });
`;

/** The schema of GitLab's documentation: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format */
const SEVERITIES = ['info', 'minor', 'major', 'critical', 'blocker'];

describe('the end of a run in CI', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    project = await createProject({
      'etl/etl.config.ts': CONFIG,
      'broken.config.ts': '\nimport "./missing.js";\n',
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(async () => {
    for (const name of ['out', 'summary.md'])
      await rm(join(project.directory, name), { recursive: true, force: true });
  });
  const file = (name: string) => join(project.directory, name);
  const run = (args: readonly string[], env: Readonly<Record<string, string>>) =>
    project.cli(['run', ...args], { ETL_CONN_DB: db.url, ETL_CONFIG: 'etl/etl.config.ts', ...env });
  /** The variables of GitHub. The repository is the project. */
  const github = () => ({
    GITHUB_ACTIONS: 'true',
    GITHUB_WORKSPACE: project.directory,
    GITHUB_STEP_SUMMARY: file('summary.md'),
  });
  const listCommands = (stderr: string): readonly WorkflowCommand[] =>
    stderr.split('\n').flatMap((line) => parseWorkflowCommand(line) ?? []);

  it('is an annotation for GitHub at the line of each failed task, with the reason and the resume command', async () => {
    const { code, stdout, stderr } = await run(['bad', '--concurrency', '1'], github());
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    const commands = listCommands(stderr);
    expect(commands.map(({ name, properties }) => [name, properties])).to.deep.equal([
      ['error', { file: 'etl/etl.config.ts', line: '7', col: '9', title: 'task "broken" of "bad" failed' }],
      ['error', { file: 'etl/etl.config.ts', line: '9', col: '7', title: 'task "check" of "bad" failed' }],
      ['error', { file: 'etl/etl.config.ts', line: '10', col: '7', title: 'task "odd" of "bad" failed' }],
    ]);
    expect(commands[0]?.data).to.match(
      /^ETL-3001 division by zero\n[^]*\n {2}data {2}[^]*\nresume: etl run bad --resume --run-id \S+/,
    );
    expect(commands[1]?.data).to.include('check "none" failed').and.not.include('Ada');
    expect(commands[2]?.data).to.include('100% | <b> `x` ::error::');
  });

  it('is a table of the tasks in the step summary of GitHub', async () => {
    await run(['good'], github());
    await run(['bad'], github());
    const text = await readFile(file('summary.md'), 'utf8');
    expect(text).to.match(
      /^### ✔ good\n\nOK 1 ok, .* · run \S+\n\n\| task \| state \| rows \| time \| reason \|\n\| --- /,
    );
    expect(text).to.match(/\n### ✖ bad\n\nFAILED 3 failed, 1 skipped, /);
    expect(text).to.match(/\n\| odd \| failed \| {2}\| \S+ \| ETL-3001 100% \\\| \\<b\\> \\`x\\` .*\|\n/);
    expect(text).to.match(/\n\| after \| upstream\\_failed \| .*needs "broken" \|\n/);
    expect(text).to.match(/\n```sh\netl run bad --resume --run-id \S+ .*\n```\n/);
    expect(text).not.to.include('Ada');
  });

  it('has at most ten annotations for GitHub, and the last one counts the others', async () => {
    const commands = listCommands((await run(['wide', '--quiet'], github())).stderr);
    expect(commands).to.have.length(10);
    expect(commands.at(-1)?.data).to.equal('3 more failures');
  });

  it('is an annotation for GitHub also if the run did not start', async () => {
    const unreachable = await run(['bad', '--conn', 'db=postgres://u@127.0.0.1:1/x'], github());
    expect(listCommands(unreachable.stderr).map(({ properties }) => properties)).to.deep.equal([
      { file: 'etl/etl.config.ts', line: '5', col: '3', title: '"bad" did not start' },
    ]);
    const broken = await run(['bad', '--config', 'broken.config.ts'], github());
    expect(listCommands(broken.stderr).map(({ properties }) => properties)).to.deep.equal([
      { file: 'broken.config.ts', line: '2', col: '8', title: '"bad" did not start' },
    ]);
    expect(listCommands((await run([], github())).stderr)[0]?.properties).to.deep.equal({
      title: 'etl run did not start',
    });
  });

  it('has no annotation after a success or outside of GitHub', async () => {
    expect(listCommands((await run(['good'], github())).stderr)).to.deep.equal([]);
    expect(listCommands((await run(['bad'], { GITHUB_STEP_SUMMARY: file('none.md') })).stderr)).to.deep.equal(
      [],
    );
    expect(await readFile(file('none.md'), 'utf8').catch(() => 'absent')).to.equal('absent');
  });

  const reports: readonly [title: string, args: readonly string[], env: Readonly<Record<string, string>>][] =
    [
      ['--code-quality', ['--code-quality', 'out/quality.json'], {}],
      ['ETL_CODE_QUALITY', [], { ETL_CODE_QUALITY: 'out/quality.json' }],
    ];
  for (const [title, args, env] of reports) {
    it(`is a Code Quality report for GitLab in the file of ${title}`, async () => {
      const gitlab = { GITLAB_CI: 'true', CI_PROJECT_DIR: project.directory, ...env };
      const read = async () => JSON.parse(await readFile(file('out/quality.json'), 'utf8'));
      expect((await run(['bad', ...args], gitlab)).code).to.equal(1);
      const issues = await read();
      for (const issue of issues) {
        expect(Object.keys(issue)).to.have.members([
          'description',
          'check_name',
          'fingerprint',
          'severity',
          'location',
        ]);
        expect(issue.fingerprint).to.match(/^[0-9a-f]{32}$/);
        expect(SEVERITIES).to.include(issue.severity);
        expect(issue.description).to.match(
          /^task ".*" of "bad" failed: ETL-.*\n[^]*resume: etl run bad --resume /,
        );
        expect(issue.description).not.to.include('Ada');
      }
      expect(
        issues.map(({ check_name: name, severity, location }: Record<string, unknown>) => [
          name,
          severity,
          location,
        ]),
      ).to.deep.equal([
        ['ETL-3001', 'critical', { path: 'etl/etl.config.ts', lines: { begin: 7 } }],
        ['ETL-3101', 'major', { path: 'etl/etl.config.ts', lines: { begin: 9 } }],
        ['ETL-3001', 'critical', { path: 'etl/etl.config.ts', lines: { begin: 10 } }],
      ]);
      const prints = issues.map(({ fingerprint }: { fingerprint: string }) => fingerprint);
      expect(new Set(prints).size).to.equal(3);
      await run(['bad', ...args], gitlab);
      expect((await read()).map(({ fingerprint }: { fingerprint: string }) => fingerprint)).to.deep.equal(
        prints,
      );
      await run(['good', ...args], gitlab);
      expect(await read()).to.deep.equal([]);
      await run(['god', ...args], gitlab);
      expect(await read()).to.have.length(1);
    });
  }

  it('has a notice and no other exit code if a file can not be written', async () => {
    const target = file('etl/etl.config.ts/no');
    const { code, stderr } = await run(['good', '--code-quality', target], {
      ...github(),
      GITHUB_STEP_SUMMARY: target,
    });
    expect(code).to.equal(0);
    expect(stderr).to.match(
      /note: the step summary .* could not be written \(.*ENOTDIR.*\); the run is not affected\n/,
    );
    expect(stderr).to.match(/note: the Code Quality report .* could not be written/);
  });
});
