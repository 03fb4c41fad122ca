import { expect } from 'chai';
import { isPrivateGroup, type UserDatabase } from '../../../src/runtime/trust/private-group.js';

const DATABASE: UserDatabase = {
  passwd: [
    'root:x:0:0:root:/root:/bin/sh',
    'sync:x:5:0:sync:/sbin:/bin/sync',
    'ann:x:1000:1000::/home/ann:/bin/sh',
    'bob:x:1001:1001::/home/bob:/bin/sh',
    'carl:x:1002:100::/home/carl:/bin/sh',
    '',
  ].join('\n'),
  group: [
    'root:x:0:',
    'users:x:100:',
    'ann:x:1000:',
    'bob:x:1001:ann',
    'only:x:1100:ann',
    'devs:x:1200:ann,bob',
    'empty:x:1300:',
    'ghosts:x:1400:dora',
    '',
  ].join('\n'),
};
const EMPTY: UserDatabase = { passwd: '', group: '' };

describe('a group is private to user 1000', () => {
  /** The results of secure_permissions in OpenSSH of Debian, apart from the group of root and of unknown groups. */
  const cases: [title: string, gid: number, isPrivate: boolean, database?: UserDatabase][] = [
    ['if it is the group that the system made for the user', 1000, true],
    ['if the user is its only member', 1100, true],
    ['if it is the group of root', 0, true],
    ['if the system knows neither user nor group, and they have one number', 1000, true, EMPTY],
    ['but not if another user is a member', 1200, false],
    ['but not if it is the primary group of another user', 1001, false],
    ['but not if all users share it', 100, false],
    ['but not if it has no member', 1300, false],
    ['but not if the system does not know its member', 1400, false],
    ['but not if the system knows only its number', 4321, false],
  ];
  for (const [title, gid, isPrivate, database = DATABASE] of cases) {
    it(title, () => expect(isPrivateGroup(gid, 1000, database)).to.equal(isPrivate));
  }
});
