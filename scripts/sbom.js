// The list of the libraries inside the bundle, for tools that look for known vulnerabilities: nothing in node_modules
// tells them. The format is CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/

/**
 * The list as JSON. `own` is our package file, `packages` come from `readPackages`. The text depends on nothing else, so
 * that the same sources give the same file.
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

/** Whether it is one licence of the SPDX list, such as `MIT`, and no expression, such as `(MIT OR Apache-2.0)`. */
function isLicenseId(license) {
  return /^[\w.-]+$/.test(license);
}
