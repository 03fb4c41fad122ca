/** What to do about an error of the network, by the code of Node.js or of its `fetch`. */
const FIXES: readonly (readonly [code: RegExp, fix: string])[] = [
  [
    /^ECONNREFUSED$/,
    'nothing listens on this host and port: check the address, and that the service runs; `retries` repeats the task',
  ],
  [
    /^(?:ENOTFOUND|EAI_AGAIN)$/,
    'the host name does not resolve on this machine: check its spelling and the DNS servers; `retries` repeats the task',
  ],
  [
    /^(?:ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|UND_ERR_(?:HEADERS|BODY)_TIMEOUT)$/,
    'the service gave no answer in time: check firewall, proxy and VPN, and that the service works; `retries` repeats the task',
  ],
  [
    /^(?:ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    'the service or the network closed the connection: read the log of the service; `retries` repeats the task',
  ],
  [
    /^ERR_TLS|CERT|SIGNATURE/,
    'the certificate of the service is not trusted: NODE_EXTRA_CA_CERTS names the file of its authority',
  ],
];

/** The maximum number of errors that are searched, which also ends a circle of causes. */
const MOST_ERRORS = 20;

/**
 * Returns what to do about an error of the network, such as the error of a `fetch`, whose cause has the code. Returns
 * undefined if neither the error nor a cause of it has such a code.
 */
export function adviseNetwork(error: Error): string | undefined {
  const open: unknown[] = [error];
  for (let count = 0; count < MOST_ERRORS && open.length > 0; count++) {
    const { code, cause, errors } = readError(open.shift());
    const fix = FIXES.find(([pattern]) => pattern.test(code))?.[1];
    if (fix !== undefined) return fix;
    open.push(cause, ...errors);
  }
  return undefined;
}

/** Reads the members of anything that was thrown. A getter or a proxy of the user may throw. */
function readError(thrown: unknown): { code: string; cause?: unknown; errors: readonly unknown[] } {
  try {
    const { code, cause, errors } = Object(thrown) as { code?: unknown; cause?: unknown; errors?: unknown };
    return { code: typeof code === 'string' ? code : '', cause, errors: Array.isArray(errors) ? errors : [] };
  } catch {
    // The error is reported without advice.
    return { code: '', errors: [] };
  }
}
