// Removes dist, or the folder that is named on the command line, and builds it anew: the program as one file, the public
// API, the types of the API, the ledger's DDL, and the lists of the bundled packages.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleApi, bundleProgram } from './bundle.js';
import { joinLicenses, readPackages } from './licenses.js';
import { writeSbom } from './sbom.js';
import { bundleTypes } from './declarations.js';

const root = join(import.meta.dirname, '..');
const [dist = join(root, 'dist')] = process.argv.slice(2);

rmSync(dist, { recursive: true, force: true });
const [programMetafiles, apiMetafiles] = await Promise.all([
  bundleProgram(dist),
  bundleApi(dist),
  bundleTypes(dist),
]);

const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packages = readPackages([...programMetafiles, ...apiMetafiles], root);
writeFileSync(join(dist, 'etl.licenses.txt'), joinLicenses(packages));
writeFileSync(join(dist, 'sbom.cdx.json'), writeSbom(own, packages));
