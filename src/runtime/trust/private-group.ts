import { readFileSync } from 'node:fs';

/** The texts of `/etc/passwd` and `/etc/group`. */
export interface UserDatabase {
  readonly passwd: string;
  readonly group: string;
}

const ROOT_GROUP = 0;

/**
 * Says whether nobody but this user and root belongs to a group, so that the group may write to a file. Linux
 * distributions make such a group for each user, and let new files be writable for it (umask 002). OpenSSH of Debian
 * accepts such files by the same rule: every member that the system knows is the user, and there is a member.
 *
 * The group of root counts as root. A group that the system does not know is private if it has the number of the user,
 * as in a container that runs under a number without a name.
 * https://sources.debian.org/patches/openssh/sid/user-group-modes.patch/
 */
export function isPrivateGroup(gid: number, uid: number, database = readUserDatabase()): boolean {
  if (gid === ROOT_GROUP) return true;
  const users = parseLines(database.passwd).map(([name = '', , id, group]) => ({ name, id, group }));
  const primary = users.filter(({ group }) => group === String(gid)).map(({ id }) => id);
  const [, , , listed] = parseLines(database.group).find(([, , id]) => id === String(gid)) ?? [];
  if (listed === undefined && primary.length === 0) return gid === uid;
  const names = (listed ?? '').split(',').filter((name) => name !== '');
  const members = [...primary, ...names.map((name) => users.find((user) => user.name === name)?.id)];
  return members.length > 0 && members.every((id) => id === String(uid));
}

let known: UserDatabase | undefined;

/** Reads the users and groups once. A file that can't be read has no users. */
function readUserDatabase(): UserDatabase {
  known ??= { passwd: readIfReadable('/etc/passwd'), group: readIfReadable('/etc/group') };
  return known;
}

function readIfReadable(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // A minimal container has no such file.
  }
}

/** Splits the lines of such a file into their fields. */
function parseLines(text: string): string[][] {
  return text.split('\n').map((line) => line.split(':'));
}
