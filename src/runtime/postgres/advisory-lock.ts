/**
 * The key of the shared advisory lock that marks a transaction as one that writes no rows. The high watermark ignores
 * marked transactions. The program marks its own transactions that stay open as long as a run: the transaction of the
 * Dag's lock and the read sessions. Without the mark, these transactions would hold the high watermark back. The number
 * is arbitrary.
 */
export const WRITES_NOTHING_LOCK = 7_238_104_456;

/**
 * The key of the advisory lock that each installer of schema `etl` takes. The number is arbitrary, but all versions
 * of the program must use the same number.
 */
export const INSTALL_LOCK = 7_238_104_455;

/**
 * The first key of the advisory locks that reserve the name of a table for the task that creates it. The second key is
 * the hash of the name. The number is arbitrary, but all versions of the program must use the same number.
 */
export const TABLE_LOCK = 1_723_810_447;
