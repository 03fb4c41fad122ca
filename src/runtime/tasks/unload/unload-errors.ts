import { EtlError } from '../../../errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: "the user's quota of the disk is used up",
  EFBIG: 'the file would be larger than the process or the file system allows',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file',
  EISDIR: 'there is a directory of that name',
  ENAMETOOLONG: 'a name in the path is too long',
  EMFILE: 'the process has too many open files',
  ENOENT: 'what was written was removed by another process before it was complete',
};

/** An error of the file system as one that a user can act on; any other as it is. */
export function describeWriteError(name: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || syscall === undefined || !(error instanceof Error)) return error;
  const words = REASONS[code];
  return new EtlError('ETL-3601', {
    what: `the file "${name}" can't be written`,
    why: words === undefined ? code : `${words} (${code})`,
    fix: 'paths start at the directory of the config file',
    data: 'no file is half there; the task was rolled back, and what it had begun was removed',
    cause: error,
  });
}
