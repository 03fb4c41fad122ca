/** The meaning of an error of the network, and the advice. */
export interface NetworkAdvice {
  readonly why: string;
  readonly fix: string;
}

const RETRIES = 'with the option `retries`, etl repeats the task';

/** The advice by the code of Node.js or of its `fetch`. */
const ADVICE: readonly (readonly [code: RegExp, reason: string, fix: string])[] = [
  [
    /^ECONNREFUSED$/,
    'nothing listens on this host and port',
    `check the address, and that the service runs; ${RETRIES}`,
  ],
  [
    /^(?:ENOTFOUND|EAI_AGAIN)$/,
    'the host name does not resolve on this machine',
    `check the spelling of the host name and the DNS servers; ${RETRIES}`,
  ],
  [
    /^(?:ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|UND_ERR_(?:HEADERS|BODY)_TIMEOUT)$/,
    'the service gave no answer in time',
    `check firewall, proxy and VPN, and that the service works; ${RETRIES}`,
  ],
  [
    /^(?:ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    'the service or the network closed the connection',
    `read the log of the service; ${RETRIES}`,
  ],
  [
    /^ERR_TLS|CERT|SIGNATURE/,
    'the certificate of the service is not trusted',
    'let NODE_EXTRA_CA_CERTS name the file of the authority that signed the certificate',
  ],
];

/** The maximum number of errors that are searched, which also ends a circle of causes. */
const MOST_ERRORS = 20;

/**
 * Explains an error of the network, such as the error of a `fetch`, whose cause has the code. `why` begins with the
 * message of the error that has the code. Returns undefined if neither the error nor a cause of it has such a code.
 */
export function adviseNetwork(error: Error): NetworkAdvice | undefined {
  const open: unknown[] = [error];
  for (let count = 0; count < MOST_ERRORS && open.length > 0; count++) {
    const { code, message, cause, errors } = readError(open.shift());
    const [, reason, fix] = ADVICE.find(([pattern]) => pattern.test(code)) ?? [];
    if (reason !== undefined && fix !== undefined)
      return { why: message === '' ? reason : `${message}: ${reason}`, fix };
    open.push(cause, ...errors);
  }
  return undefined;
}

/** Reads the members of anything that was thrown. A getter or a proxy of the user may throw. */
function readError(thrown: unknown): {
  readonly code: string;
  readonly message: string;
  readonly cause?: unknown;
  readonly errors: readonly unknown[];
} {
  try {
    const { code, message, cause, errors } = Object(thrown) as Readonly<Record<string, unknown>>;
    return {
      code: typeof code === 'string' ? code : '',
      message: typeof message === 'string' ? message : '',
      cause,
      errors: Array.isArray(errors) ? errors : [],
    };
  } catch {
    // The error is reported without advice.
    return { code: '', message: '', errors: [] };
  }
}
