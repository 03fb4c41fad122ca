import { Ajv, type AnySchema } from 'ajv';
import { expect } from 'chai';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ROOT } from '../support/cli.js';

const require = createRequire(import.meta.url);

interface Component {
  readonly 'bom-ref': string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly licenses: readonly unknown[];
  readonly purl: string;
}

interface Bom {
  readonly specVersion: string;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

describe('the list of bundled libraries in dist/sbom.cdx.json', () => {
  let bom: Bom;

  before(async () => {
    bom = JSON.parse(await readFile(join(ROOT, 'dist/sbom.cdx.json'), 'utf8')) as Bom;
  });

  it('is valid against the published schema of CycloneDX 1.6', async () => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    // The schemas refer to each other by the names of their files.
    for (const name of ['spdx', 'jsf-0.82'])
      ajv.addSchema(await readSchema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
    const validate = ajv.compile(await readSchema('bom-1.6'));
    expect(validate(bom), ajv.errorsText(validate.errors)).to.equal(true);
    const [first] = bom.components;
    expect(validate({ ...bom, components: [{ ...first, name: undefined }] }), 'a control').to.equal(false);
    expect(
      validate({ ...bom, components: [{ ...first, licenses: [{ license: { id: 'none' } }] }] }),
    ).to.equal(false);
    expect(bom.specVersion).to.equal('1.6');
  });

  it('names each package whose code is in a bundle, with its version, and no other package', async function () {
    this.timeout(60_000);
    const bundled = await findBundledPackages();
    expect(bundled).to.include.members([
      `@oclif/core ${readInstalledVersion('node_modules/@oclif/core')}`,
      `debug ${readInstalledVersion('node_modules/debug')}`,
      `debug ${readInstalledVersion('node_modules/knex/node_modules/debug')}`,
      `knex ${readInstalledVersion('node_modules/knex')}`,
      `objection ${readInstalledVersion('node_modules/objection')}`,
    ]);
    expect(bom.components.map((each) => `${formatFullName(each)} ${each.version}`)).to.have.members(bundled);
  });

  it('gives each package its own package URL and a licence', () => {
    const { components, metadata, dependencies } = bom;
    for (const component of [metadata.component, ...components]) {
      const name = formatFullName(component).replace('@', '%40');
      expect(component.purl).to.equal(`pkg:npm/${name}@${component.version}`);
      expect(component.licenses).to.have.lengthOf(1);
    }
    const urls = components.map(({ purl }) => purl);
    expect(new Set(urls).size).to.equal(urls.length);
    expect(dependencies).to.deep.equal([{ ref: metadata.component['bom-ref'], dependsOn: urls }]);
  });
});

function formatFullName({ group, name }: Component): string {
  return group === undefined ? name : `${group}/${name}`;
}

/**
 * Returns the name and version of each package whose path is in the text of a bundle. esbuild writes the paths if it
 * does not minify.
 */
async function findBundledPackages(): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'etl-bundle-'));
  try {
    const { bundleProgram, bundleApi } = (await import(join(ROOT, 'scripts/bundle.js'))) as Bundler;
    await Promise.all([bundleProgram(folder, { minify: false }), bundleApi(folder)]);
    const programs = ['etl', 'api', 'watchdog-thread', 'iconv-lite', 'parser', 'typescript'];
    const files = programs.map((name) => `${name}.cjs`);
    const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
    const paths = texts.flatMap((text) => text.match(/^ *\/\/ node_modules\/.*$/gm) ?? []);
    const folders = paths.map((path) => /node_modules\/.*/.exec(path)?.[0] ?? '').map(getPackageFolder);
    return [...new Set(folders)].map((each) => `${readInstalledName(each)} ${readInstalledVersion(each)}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Bundler {
  bundleProgram(directory: string, options: { readonly minify: boolean }): Promise<unknown>;
  bundleApi(directory: string): Promise<unknown>;
}

function getPackageFolder(path: string): string {
  const parts = path.split('/');
  const at = parts.lastIndexOf('node_modules') + 1;
  return parts.slice(0, at + (parts[at]?.startsWith('@') ? 2 : 1)).join('/');
}

/** Reads the name of a package. Its folder can have another name. */
function readInstalledName(folder: string): string {
  return (require(join(ROOT, folder, 'package.json')) as { name: string }).name;
}

function readInstalledVersion(folder: string): string {
  return (require(join(ROOT, folder, 'package.json')) as { version: string }).version;
}

async function readSchema(name: string): Promise<AnySchema> {
  const library = dirname(require.resolve('@cyclonedx/cyclonedx-library/package.json'));
  const text = await readFile(join(library, `res/schema/${name}.SNAPSHOT.schema.json`), 'utf8');
  return JSON.parse(text) as AnySchema;
}
