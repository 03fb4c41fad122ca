/**
 * The shared advisory lock of a transaction that writes no rows: it holds back nobody. Our own locks and readers last as
 * long as a run does.
 */
export const WRITES_NOTHING_LOCK = 7_238_104_456;

/** The advisory lock of whoever installs the schema. Any constant will do; all installers must use the same. */
export const INSTALL_LOCK = 7_238_104_455;
