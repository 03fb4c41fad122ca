// Lists the libraries inside the bundle for tools that search for known vulnerabilities. Such tools can't find bundled
// libraries in node_modules. The format is CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/

/**
 * Returns the list as JSON. `own` is the content of our package.json, and `readPackages` returns `packages`. The text
 * depends on nothing else, so each build of a commit gives the same text.
 */
export function writeSbom(own, packages) {
  const root = toComponent('application', own);
  const components = packages.map((each) => ({ ...toComponent('library', each), scope: 'required' }));
  const bom = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: root },
    components,
    dependencies: [{ ref: root['bom-ref'], dependsOn: components.map((each) => each['bom-ref']) }],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

function toComponent(type, { name, version, license }) {
  const [, group, plain] = /^(?:(@[^/]+)\/)?(.+)$/.exec(name);
  const purl = `pkg:npm/${group === undefined ? '' : `${encodeURIComponent(group)}/`}${plain}@${version}`;
  return {
    type,
    'bom-ref': purl,
    ...(group !== undefined && { group }),
    name: plain,
    version,
    licenses: [isLicenseId(license) ? { license: { id: license } } : { expression: license }],
    purl,
  };
}

/** Returns true for the ID of an SPDX licence, such as `MIT`, and false for an expression: `(MIT OR Apache-2.0)`. */
function isLicenseId(license) {
  return /^[\w.-]+$/.test(license);
}
