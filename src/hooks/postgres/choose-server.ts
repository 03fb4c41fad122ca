import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { EtlError } from '../../errors.js';
import { within } from '../../runtime/waiting.js';
import { createNoServerError, isOtherHostTried } from '../connect-error.js';
import { isSocket } from './hosts.js';
import type { ResolvedServer, ServerList, SessionAttributes } from './libpq.js';

/**
 * Returns the servers of a connection in the order in which they are tried. With `load_balance_hosts=random` the order is
 * random, and each address of a host name is a server of its own. With `sslsni=0` the driver must not know the host name,
 * so the server has the first address of the name. A name that can't be resolved stays a name, and fails when it is tried.
 */
export async function listCandidates(
  { servers, isBalanced }: ServerList,
  random: () => number = Math.random,
): Promise<readonly ResolvedServer[]> {
  const isResolved = isBalanced || servers.some(({ tls }) => !tls.namesHost);
  if (!isResolved) return servers;
  const listed = await Promise.all(
    servers.map(async (server) => {
      const addresses = await listAddresses(server);
      const ordered = isBalanced ? shuffle(addresses, random) : addresses.slice(0, 1);
      return ordered.map((address) => moveTo(server, address));
    }),
  );
  return (isBalanced ? shuffle(listed, random) : listed).flat();
}

/** Returns the same server with another address. */
function moveTo(server: ResolvedServer, address: string): ResolvedServer {
  return { ...server, address };
}

/** Returns the IP addresses of a server. A socket, an address, and a name that can't be resolved stay as they are. */
async function listAddresses({ address, connectTimeoutMillis }: ResolvedServer): Promise<readonly string[]> {
  if (isSocket(address) || isIP(address) !== 0) return [address];
  const found: string[] = [];
  const answered = lookup(address, { all: true }).then(
    (all) => found.push(...all.map((each) => each.address)),
    () => undefined, // The attempt to connect reports a name that can't be resolved.
  );
  await within(answered, connectTimeoutMillis);
  return found.length === 0 ? [address] : found;
}

/** Returns a list in random order: https://en.wikipedia.org/wiki/Fisher–Yates_shuffle */
function shuffle<Item>(items: readonly Item[], random: () => number): readonly Item[] {
  const left = [...items];
  return items.flatMap(() => left.splice(Math.floor(random() * left.length), 1));
}

/** Returns how often a server is tried at most. `prefer-standby` tries all servers twice. */
export function countTrials({ attributes }: ServerList, servers: number): number {
  return servers * (attributes === 'prefer-standby' && servers > 1 ? 2 : 1);
}

/**
 * Tries the servers one after the other, by libpq's rules, until `connect` succeeds with one. `connect` gets the attributes
 * that the server must have: with `prefer-standby`, first those of a standby, and then any. Rejects with the error of
 * `connect` if it forbids to try another server, or if there is one server only. Rejects with an ETL-1001 that names each
 * server if all have failed.
 */
export async function chooseServer<Server extends { readonly server: ResolvedServer }, Config>(
  { attributes }: ServerList,
  servers: readonly Server[],
  connect: (server: Server, attributes: SessionAttributes) => Promise<Config>,
): Promise<{ readonly chosen: Server; readonly config: Config }> {
  const isPreferred = attributes === 'prefer-standby';
  const passes: readonly SessionAttributes[] = isPreferred
    ? [...(servers.length > 1 ? (['standby'] as const) : []), 'any']
    : [attributes];
  const failures: EtlError[] = [];
  for (const pass of passes) {
    for (const each of servers) {
      try {
        return { chosen: each, config: await connect(each, pass) };
      } catch (error) {
        if (servers.length === 1 || !isOtherHostTried(error)) throw error;
        failures.push(error);
      }
    }
  }
  const [first] = servers;
  if (first === undefined) throw new Error('a connection has no server');
  throw createNoServerError(first.server.connection, failures);
}
