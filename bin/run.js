#!/usr/bin/env node
// Starts the program in dist/etl.cjs. Compiling the program takes longer than most of its work, so this file caches
// V8's compiled code in a private directory of the user. ETL_NO_CACHE=1 turns the cache off.
'use strict';
const fs = require('node:fs');
const Module = require('node:module');
const { userInfo } = require('node:os');
const path = require('node:path');
const vm = require('node:vm');
const { crc32 } = require('node:zlib');

const BUNDLE = path.join(__dirname, '../dist/etl.cjs');
const USAGE = 2;
/** The number of bytes of the checksum at the end of a cache file. */
const CHECKSUM_BYTES = 4;

if (isTooOld(process.versions.node)) reportTooOld();
else start();

/** Says whether a version of Node.js is before 20.19, as `engines` in package.json says. */
function isTooOld(version) {
  const [major, minor] = version.split('.').map(Number);
  return major < 20 || (major === 20 && minor < 19);
}

/** Reports a version of Node.js that can't run the program. Nothing of the program is loaded, because it would throw. */
function reportTooOld() {
  process.stderr
    .write(`ETL-2021 etl needs Node.js 20.19 or later, and this is Node.js ${process.versions.node}
  where ${process.execPath}
  do    install a later Node.js, or put its directory first in PATH: cron and systemd have a PATH of their own
`);
  process.exitCode = USAGE;
}

function start() {
  // pg reads `navigator` to detect Cloudflare's workers. If it is missing, as in Node 20, pg loads fetch, which takes
  // 35 ms.
  if (!('navigator' in globalThis)) {
    const value = { userAgent: `Node.js/${process.versions.node.split('.')[0]}` };
    Object.defineProperty(globalThis, 'navigator', { value, configurable: true });
  }
  const code = fs.readFileSync(BUNDLE, 'latin1');
  const cacheFile = process.env.ETL_NO_CACHE ? undefined : getCacheFile(code);
  const cachedData = cacheFile && readCacheFile(cacheFile);
  const script = new vm.Script(code, { filename: BUNDLE, cachedData });
  const program = loadOrEnd(script);
  if (cacheFile && (cachedData === undefined || script.cachedDataRejected)) {
    process.on('exit', (exitCode) => {
      // A usage error compiles little code, and may come from a command that does not exist.
      if (exitCode !== USAGE) program.keep(cacheFile, addChecksum(script.createCachedData(), cacheFile));
    });
  }
  program.main(process.argv.slice(2), cacheFile && path.dirname(cacheFile));
}

function loadOrEnd(script) {
  try {
    return loadProgram(script);
  } catch (error) {
    endIfForbidden(error);
    throw error;
  }
}

/** Ends the process with a message if the error comes from an option of Node.js that forbids what the program needs. */
function endIfForbidden(error) {
  if (!(error instanceof EvalError) && error.code !== 'ERR_ACCESS_DENIED') return;
  const options = process.env.NODE_OPTIONS;
  const lines = [
    `ETL-2018 an option of Node.js forbids what etl needs: ${error.message}`,
    `  where ${options ? `NODE_OPTIONS=${options}` : 'the command line of Node.js'}`,
    error instanceof EvalError
      ? '  why   --disallow-code-generation-from-strings forbids `new Function`, with which etl builds the code that reads and writes rows'
      : '  why   --permission forbids access to a file or to another resource',
    '  do    start etl without this option: NODE_OPTIONS= etl …',
    '  data  nothing was started',
  ];
  fs.writeSync(2, `${lines.join('\n')}\n`);
  process.exit(USAGE);
}

/**
 * Runs the bundle as Node's own loader would, and registers it in the cache of modules: oclif requires the bundle by its
 * path.
 */
function loadProgram(script) {
  const bundle = new Module(BUNDLE);
  bundle.filename = BUNDLE;
  const own = Module.createRequire(BUNDLE);
  // `require` of this file has no cache if --experimental-default-type makes Node.js load the file as a module.
  own.cache[BUNDLE] = bundle;
  const run = script.runInThisContext();
  run.call(bundle.exports, bundle.exports, own, bundle, BUNDLE, path.dirname(BUNDLE), (name) => import(name));
  bundle.loaded = true;
  return bundle.exports;
}

/**
 * Returns the path of the cache file, or undefined if the user has no private directory. Each command has its own file,
 * because each command uses other parts of the program. The name of the file has the hash in the bundle's first line,
 * and the size and time of the bundle, which change if somebody edits the bundle by hand.
 */
function getCacheFile(code) {
  const directory = findPrivateDirectory();
  const [command = ''] = process.argv.slice(2);
  const { size, mtimeMs } = fs.statSync(BUNDLE);
  const versions = [code.slice(3, code.indexOf('\n')), size, mtimeMs, process.version, process.arch];
  const name = `${versions.join('-')}-${/^[a-z]+$/.test(command) ? command : 'etl'}.bin`;
  return directory && path.join(directory, name);
}

/**
 * Makes the directory of the cache. Returns undefined if the directory does not belong to this user or if another user
 * can open it, because V8 executes the code that is stored there.
 */
function findPrivateDirectory() {
  const home = findCacheHome();
  if (home === undefined) return undefined;
  const directory = path.join(home, 'etl');
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.lstatSync(directory);
    const isPrivate = !process.getuid || (uid === process.getuid() && (mode & 0o077) === 0);
    return isPrivate ? directory : undefined;
  } catch {
    // If the home directory is missing or read-only, each start compiles the program anew.
    return undefined;
  }
}

/**
 * Returns the user's cache directory by the rules of the system (https://specifications.freedesktop.org/basedir-spec).
 * Undefined if the user has none. A relative path does not count: it would be another directory in each project.
 */
function findCacheHome() {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (XDG_CACHE_HOME && path.isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME;
  if (process.platform === 'win32' && LOCALAPPDATA) return LOCALAPPDATA;
  const home = findHome();
  if (home === undefined || !path.isAbsolute(home)) return undefined;
  return path.join(home, process.platform === 'darwin' ? 'Library/Caches' : '.cache');
}

/** Returns the user's home directory. Undefined in a container that runs under a number without a name. */
function findHome() {
  try {
    return process.env.HOME || userInfo().homedir;
  } catch {
    return undefined;
  }
}

/**
 * Reads compiled code from the cache. Returns undefined if the file is missing, if another user owns it or can write to
 * it, or if it is damaged. V8 itself checks no checksum: damaged code would end the process with SIGSEGV at each start.
 */
function readCacheFile(file) {
  let descriptor;
  try {
    descriptor = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0));
    const stats = fs.fstatSync(descriptor);
    const isOwn = !process.getuid || (stats.uid === process.getuid() && (stats.mode & 0o022) === 0);
    if (!stats.isFile() || !isOwn || stats.size <= CHECKSUM_BYTES) return undefined;
    const bytes = fs.readFileSync(descriptor);
    const code = bytes.subarray(0, -CHECKSUM_BYTES);
    return bytes.readUInt32BE(code.length) === computeChecksum(code, file) ? code : undefined;
  } catch {
    return undefined; // This user has not run the command yet.
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

/** Returns the content of a cache file: the compiled code, and then its checksum. */
function addChecksum(code, file) {
  const checksum = Buffer.alloc(CHECKSUM_BYTES);
  checksum.writeUInt32BE(computeChecksum(code, file));
  return Buffer.concat([code, checksum]);
}

/** Computes the checksum of compiled code and of the name of its file, because the name says what the code is for. */
function computeChecksum(code, file) {
  return crc32(code, crc32(path.basename(file)));
}
