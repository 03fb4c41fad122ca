import { execFile } from 'node:child_process';
import { chown, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { findBinaries, findServerUser, type ServerUser } from './binaries.js';

const run = promisify(execFile);

/**
 * A primary server and its replica. Both have their files and sockets in one folder. The caller must dispose of the
 * pair.
 */
export class ReplicaPair implements AsyncDisposable {
  readonly #folder: string;
  readonly #bin: string;
  readonly #user: ServerUser | undefined;
  readonly #clients: Client[] = [];

  private constructor(folder: string, bin: string, user: ServerUser | undefined) {
    [this.#folder, this.#bin, this.#user] = [folder, bin, user];
  }

  /** Starts both servers. */
  static async start(): Promise<ReplicaPair> {
    const user = await findServerUser();
    const folder = await mkdtemp('/tmp/etl-pair-');
    if (user) await chown(folder, user.uid, user.gid);
    const pair = new ReplicaPair(folder, join(await findBinaries(user, join(folder, 'native')), 'bin'), user);
    await pair.#execute('initdb', [
      '-D',
      join(folder, 'primary'),
      '-U',
      'etl',
      '-A',
      'trust',
      '-N',
      '--locale=C',
    ]);
    const port = 5432;
    const settings = `port=${port}\nlisten_addresses=''\nunix_socket_directories='${folder}'\nfsync=off\nwal_level=replica\n`;
    await writeFile(join(folder, 'primary/postgresql.auto.conf'), settings);
    await cp(join(folder, 'primary'), join(folder, 'replica'), { recursive: true });
    await writeFile(
      join(folder, 'replica/postgresql.auto.conf'),
      `${settings}port=${port + 1}\nprimary_conninfo='host=${folder} port=${port} user=etl'\n`,
    );
    await writeFile(join(folder, 'replica/standby.signal'), '');
    if (user)
      await run('chown', ['-R', `${user.uid}:${user.gid}`, join(folder, 'replica'), join(folder, 'primary')]);
    for (const name of ['primary', 'replica']) await pair.#control(name, 'start');
    return pair;
  }

  /** The host of both servers: the directory of their sockets. The ports are 5432 and 5433, the user is `etl`. */
  get host(): string {
    return this.#folder;
  }

  /** Opens a session on one of the servers. The end of the pair closes the session. */
  async connect(name: 'primary' | 'replica'): Promise<Client> {
    const port = name === 'primary' ? 5432 : 5433;
    const client = new Client({ host: this.#folder, port, user: 'etl', database: 'postgres' });
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.end();
    for (const name of ['replica', 'primary']) await this.#control(name, 'stop');
    await rm(this.#folder, { recursive: true });
  }

  #control(name: string, what: 'start' | 'stop'): Promise<void> {
    const data = join(this.#folder, name);
    return this.#execute('pg_ctl', [
      what,
      '-D',
      data,
      '-l',
      join(this.#folder, `${name}.log`),
      '-w',
      '-s',
      '-m',
      'immediate',
    ]);
  }

  async #execute(program: string, args: readonly string[]): Promise<void> {
    await run(join(this.#bin, program), args, { ...this.#user, cwd: this.#folder, timeout: 60_000 });
  }
}
