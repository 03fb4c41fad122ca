import { isIP } from 'node:net';
import { EtlError } from '../../errors.js';
import {
  createBadValueError,
  findSetting,
  parseWholeNumber,
  type Setting,
  type SettingSources,
} from './libpq-setting.js';

/** One server of a connection. */
export interface HostAddress {
  /** A host name, an IP address, the directory of a Unix socket, or `@` and a name in Linux' abstract socket namespace. */
  readonly host: string;
  /** The address that the socket connects to: `hostaddr`, or the host. */
  readonly address: string;
  readonly port: number;
}

/**
 * Lists the servers of a connection in their order. `host`, `hostaddr` and `port` are lists that belong together, and one
 * port counts for all hosts. A host that is empty is `localhost`, where libpq uses a Unix socket. Throws ETL-2206 for lists
 * that do not fit together, for a port that is none and for a `hostaddr` that is no IP address, and ETL-2207 for a
 * PGHOSTADDR that would redirect a connection with a host of its own.
 */
export function listHosts(sources: SettingSources): readonly [HostAddress, ...HostAddress[]] {
  const host = findSetting(sources, 'host');
  const hostaddr = findSetting(sources, 'hostaddr');
  refuseRedirection(sources, host, hostaddr);
  const names = split(host);
  const addresses = split(hostaddr);
  const count = addresses.length || names.length || 1;
  if (names.length > 0 && names.length !== count)
    throw createMismatchError(hostaddr, `${addresses.length} addresses`, names.length);
  const ports = listPorts(findSetting(sources, 'port'), count);
  const listed = Array.from({ length: count }, (_, index): HostAddress => {
    const address = addresses[index] ?? '';
    const name = names[index] || address || 'localhost';
    return { host: name, address: address || name, port: ports[index] ?? 5432 };
  });
  if (hostaddr !== undefined && addresses.some((each) => each !== '' && isIP(each) === 0))
    throw createBadValueError(hostaddr, 'a value is not an IP address', 'write a host name as host=<name>');
  return listed as [HostAddress, ...HostAddress[]];
}

/** Says whether a host is a Unix socket. */
export function isSocket(host: string): boolean {
  return /^[/@]/.test(host);
}

/** Splits a list at its commas. No list has no element, and neither has an empty one. */
function split(found: Setting | undefined): readonly string[] {
  return found === undefined || found.text === '' ? [] : found.text.split(',');
}

/** Returns the port of each host. An empty port is 5432. Throws ETL-2206 for a port that is not from 1 to 65535. */
function listPorts(found: Setting | undefined, count: number): readonly number[] {
  const texts = split(found);
  if (texts.length > 1 && texts.length !== count)
    throw createMismatchError(found, `${texts.length} ports`, count);
  const numbers = texts.map((text) => (text === '' ? 5432 : (parseWholeNumber(text) ?? 0)));
  if (found !== undefined && numbers.some((number) => number < 1 || number > 65_535))
    throw createBadValueError(
      found,
      'a port is a number from 1 to 65535',
      'write the port of the server; the default port of PostgreSQL is 5432',
    );
  return numbers.length === 1 ? Array.from({ length: count }, () => numbers[0] ?? 5432) : numbers;
}

function createMismatchError(found: Setting | undefined, what: string, hosts: number): EtlError {
  return createBadValueError(
    found ?? { name: 'port', where: 'the environment' },
    `${what} do not fit to ${hosts === 1 ? 'one host' : `${hosts} hosts`}`,
    'write one value for each host, in the order of the hosts',
  );
}

/**
 * Throws ETL-2207 if PGHOSTADDR is set and the connection names a host, but no address. libpq connects to PGHOSTADDR then,
 * so one variable would lead every connection of a run to one server.
 */
function refuseRedirection(
  { connection, variables }: SettingSources,
  host: Setting | undefined,
  hostaddr: Setting | undefined,
): void {
  const isOwn = host !== undefined && host.text !== '' && host.name !== 'PGHOST';
  if (hostaddr?.name !== 'PGHOSTADDR' || !variables['PGHOSTADDR'] || !isOwn) return;
  throw new EtlError('ETL-2207', {
    what: `connection "${connection.id}" names a host, and PGHOSTADDR would lead to another server`,
    where: connection.definedBy,
    why: 'libpq connects to the address in PGHOSTADDR, whatever host a connection names',
    fix: 'unset PGHOSTADDR, or write hostaddr=<address> into the connection',
  });
}
