import { EtlError } from '../../../errors.js';

/** The reasons for the usual error codes of file systems. */
const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: "the user's quota of the disk is used up",
  EFBIG: 'the file would be larger than the process or the file system allows',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file',
  EISDIR: 'a directory has this name',
  ENAMETOOLONG: 'a name in the path is too long',
  EMFILE: 'the process has too many open files',
  ENOENT: 'another process removed the file or its directory before the file was complete',
};

/** The advice for an error of the file system that another path would not avoid, by the code of the error. */
const FIXES: Readonly<Record<string, string>> = {
  ENOSPC: 'free space on the disk, or write to another disk, and resume the run',
  EDQUOT: "free space, or raise the user's quota, and resume the run",
  EFBIG: 'write several smaller files, or raise the limit (ulimit -f)',
  EMFILE: 'raise the limit of open files (ulimit -n), or run fewer tasks at once',
};

/**
 * Turns an error of the file system into `EtlError` ETL-3601. Returns every other error unchanged. `name` is the path
 * as the user wrote it, and `path` is the absolute path.
 */
export function describeWriteError(name: string, path: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || syscall === undefined || !(error instanceof Error)) return error;
  const words = REASONS[code];
  return new EtlError('ETL-3601', {
    what: `the file "${name}" can't be written`,
    why: `${words === undefined ? code : `${words} (${code})`}: ${path}`,
    fix:
      FIXES[code] ??
      "check the path, which is relative to the directory of the Dag's config file, else to the working directory, and the rights of this user",
    data: 'the task was rolled back; its temporary files were removed, and a file of an earlier run is unchanged or was replaced as a whole',
    cause: error,
  });
}
