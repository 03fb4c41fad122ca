import { createBadValueError, type Setting } from './libpq-setting.js';

/** The methods of `require_auth` by which a server can authenticate a client. `none` is not a method. */
const METHODS = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'oauth'] as const;

/** A method by which a server authenticates a client. */
export type AuthenticationMethod = (typeof METHODS)[number];

/** The methods that a connection accepts. */
export interface RequiredAuthentication {
  readonly allowed: ReadonlySet<AuthenticationMethod>;
  /** True if a server that does not authenticate the client is refused. */
  readonly isRequired: boolean;
  /** The value as the user wrote it, for messages. */
  readonly text: string;
}

/** The ways in which a server may authenticate the client. */
export interface AuthenticationRules {
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  /** Undefined: every method, and also none. */
  readonly required?: RequiredAuthentication | undefined;
}

/**
 * Parses `require_auth`: a list of methods that are accepted, or with `!` before each a list of methods that are not.
 * Returns undefined if the setting is empty or not set. Throws ETL-2206 for the lists that libpq refuses.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH
 */
export function parseRequiredAuthentication(found: Setting | undefined): RequiredAuthentication | undefined {
  if (found === undefined || found.text === '') return undefined;
  const parts = found.text.split(',');
  const isNegated = parts[0]?.startsWith('!') === true;
  const names = parts.map((part) => part.replace(/^!/, ''));
  const known: readonly string[] = [...METHODS, 'none'];
  const [why, fix] = names.some((name) => !known.includes(name))
    ? ['PostgreSQL has no such method', `use one of: ${known.join(', ')}`]
    : parts.some((part) => part.startsWith('!') !== isNegated)
      ? ['a method with ! stands beside one without', 'write ! before all methods, or before none']
      : new Set(names).size < names.length
        ? ['a method is named twice', 'remove one of them']
        : [];
  if (why !== undefined && fix !== undefined) throw createBadValueError(found, why, fix);
  return {
    allowed: new Set(METHODS.filter((method) => names.includes(method) !== isNegated)),
    isRequired: names.includes('none') === isNegated,
    text: found.text,
  };
}

/**
 * The authentication of one session. Each method is called when the server sends the message of this name, and returns
 * why the session must be refused, or undefined.
 */
export class Authentication {
  readonly #rules: AuthenticationRules;
  readonly #isEncrypted: boolean;
  #isFinished = false;

  constructor(rules: AuthenticationRules, isEncrypted: boolean) {
    this.#rules = rules;
    this.#isEncrypted = isEncrypted;
  }

  /** The server asks for a password, as a hash if the method is `md5`. */
  requestPassword(method: 'password' | 'md5'): string | undefined {
    this.#isFinished = true;
    const noun = method === 'md5' ? 'a hashed password' : 'a cleartext password';
    if (this.#rules.channelBinding === 'require')
      return `the server asks for ${noun}, which channel_binding=require forbids`;
    return this.#isAllowed(method) ? undefined : this.#describe(`the server asks for ${noun}`);
  }

  /** The server offers mechanisms of SASL. */
  offerMechanisms(mechanisms: readonly string[]): string | undefined {
    if (!this.#isAllowed('scram-sha-256')) return this.#describe('the server asks for SASL authentication');
    if (this.#rules.channelBinding !== 'require') return undefined;
    if (!this.#isEncrypted) return 'channel_binding=require needs TLS, and the session has none';
    return mechanisms.includes('SCRAM-SHA-256-PLUS')
      ? undefined
      : 'the server offers no channel binding, which channel_binding=require asks for';
  }

  /** The server has proved that it knows the password. */
  finish(): void {
    this.#isFinished = true;
  }

  /** The server accepts the client. */
  accept(): string | undefined {
    if (this.#isFinished) return undefined;
    if (this.#rules.channelBinding === 'require')
      return 'the server authenticated the client without channel binding, which channel_binding=require asks for';
    return this.#rules.required?.isRequired
      ? this.#describe('the server did not authenticate the client')
      : undefined;
  }

  #isAllowed(method: AuthenticationMethod): boolean {
    return this.#rules.required?.allowed.has(method) ?? true;
  }

  #describe(what: string): string {
    return `${what}, which require_auth=${this.#rules.required?.text ?? ''} forbids`;
  }
}
