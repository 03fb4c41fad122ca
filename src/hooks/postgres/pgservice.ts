import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describeThrown, EtlError, type ErrorParts } from '../../errors.js';
import type { Connection } from '../connection.js';
import { findHomeDirectory } from '../home-directory.js';
import type { OpenSettings } from '../hook.js';
import { findSetting, type Service } from './libpq-setting.js';
import { findStandardFile } from './passfile.js';
import { isParameterName } from './parameters.js';

/** The longest line that libpq reads in a service file, in bytes. */
const MAX_LINE_BYTES = 1023;

/**
 * Reads the service that a connection names by `service` or PGSERVICE, from PGSERVICEFILE or `~/.pg_service.conf`, else
 * from `pg_service.conf` in PGSYSCONFDIR. libpq's own default of PGSYSCONFDIR depends on how libpq was built, so there is
 * none. Returns undefined if the connection names no service. Rejects with ETL-2215 if no file has the service, or if the
 * file is not one that libpq reads.
 * https://www.postgresql.org/docs/current/libpq-pgservice.html
 */
export async function readService(
  connection: Connection,
  { variables, root }: Pick<OpenSettings, 'variables' | 'root'>,
): Promise<Service | undefined> {
  const found = findSetting({ connection, variables }, 'service');
  if (found === undefined) return undefined;
  const refuse = (parts: Omit<ErrorParts, 'where'>): EtlError =>
    new EtlError('ETL-2215', { ...parts, where: `connection "${connection.id}", ${found.where}` });
  const named = variables['PGSERVICEFILE'];
  const home = findHomeDirectory(variables);
  const standard = home === undefined ? undefined : join(home, '.pg_service.conf');
  const own = named === undefined ? standard : resolve(root, named);
  const folder = variables['PGSYSCONFDIR'];
  const files = [own, folder === undefined ? undefined : join(folder, 'pg_service.conf')];
  for (const file of files.filter((each) => each !== undefined)) {
    const text = await readText(file, refuse, file === own && named !== undefined);
    const parameters = text === undefined ? undefined : parseService(text, found.text);
    if (parameters !== undefined && 'line' in parameters)
      throw refuse({
        what: `line ${parameters.line} of the service file ${file} can't be used`,
        why: parameters.why,
        fix: 'correct the line: name=value without blanks around the =, with a parameter of libpq as the name',
      });
    if (parameters !== undefined) return { parameters, name: `service "${found.text}" in ${file}` };
  }
  throw refuse({
    what: `no service file has the service "${found.text}"`,
    why: `searched in ${files.filter((each) => each !== undefined).join(' and ') || 'no file: HOME, PGSERVICEFILE and PGSYSCONFDIR are not set'}`,
    fix: `add [${found.text}] and its parameters to one of these files, or set PGSERVICEFILE`,
  });
}

/** A line that can't be used. `line` counts from 1. */
interface ServiceFault {
  readonly line: number;
  readonly why: string;
}

/**
 * Parses the section `[name]` of a service file as libpq does. The first section of this name and its first value of each
 * parameter count. Returns undefined if there is no such section. Other sections are not read.
 */
export function parseService(
  text: string,
  name: string,
): ReadonlyMap<string, string> | ServiceFault | undefined {
  let parameters: Map<string, string> | undefined;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/^[ \t-\r]+|[ \t-\r]+$/g, '');
    const refuse = (why: string): ServiceFault => ({ line: index + 1, why });
    if (Buffer.byteLength(raw) > MAX_LINE_BYTES)
      return refuse(`the line is longer than ${MAX_LINE_BYTES} bytes`);
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (parameters !== undefined) return parameters;
      if (line.startsWith(`[${name}]`)) parameters = new Map();
      continue;
    }
    if (parameters === undefined) continue;
    const [key = ''] = line.split('=', 1);
    if (key === line) return refuse('the line has no =');
    if (key === 'service') return refuse('a service can not name another service');
    if (!isParameterName(key)) return refuse('the text before the = is not a parameter of libpq');
    if (!parameters.has(key)) parameters.set(key, line.slice(key.length + 1));
  }
  return parameters;
}

/**
 * Reads a file. Returns undefined if the user did not name it, and it does not exist or this user can't look at it, as
 * in libpq. Rejects with ETL-2215 if the file can't be read.
 */
async function readText(
  file: string,
  refuse: (parts: Omit<ErrorParts, 'where'>) => EtlError,
  isNamed: boolean,
): Promise<string | undefined> {
  if (!isNamed && (await findStandardFile(file)) === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw refuse({
      what: `the service file ${file} can't be read`,
      why: describeThrown(cause),
      fix: 'correct PGSERVICEFILE, or make the file readable for this user',
      cause,
    });
  }
}
