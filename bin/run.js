#!/usr/bin/env node
// Starts the program in dist/etl.cjs. Compiling it takes longer than most of what it does, so the code that V8 made of
// it in an earlier process is kept in a private directory of the user. ETL_NO_CACHE=1 does without.
'use strict';
const fs = require('node:fs');
const Module = require('node:module');
const { homedir } = require('node:os');
const path = require('node:path');
const vm = require('node:vm');

const BUNDLE = path.join(__dirname, '../dist/etl.cjs');
const USAGE = 2;

start();

function start() {
  // pg looks at it to tell Cloudflare's workers; where it is missing, as in Node 20, pg loads fetch, for 35 ms.
  if (!('navigator' in globalThis)) {
    const value = { userAgent: `Node.js/${process.versions.node.split('.')[0]}` };
    Object.defineProperty(globalThis, 'navigator', { value, configurable: true });
  }
  const code = fs.readFileSync(BUNDLE, 'latin1');
  const kept = process.env.ETL_NO_CACHE ? undefined : keptFile(code);
  const cachedData = kept && read(kept);
  const script = new vm.Script(code, { filename: BUNDLE, cachedData });
  const program = moduleOf(script);
  if (kept && (cachedData === undefined || script.cachedDataRejected)) {
    process.on('exit', (exitCode) => {
      // A call that was wrong may name any command, and has not got far.
      if (exitCode !== USAGE) program.keep(kept, script.createCachedData());
    });
  }
  program.main(process.argv.slice(2));
}

/** Runs the file as Node's own loader would, and makes it known: oclif asks for it by its path. */
function moduleOf(script) {
  const bundle = new Module(BUNDLE);
  bundle.filename = BUNDLE;
  require.cache[BUNDLE] = bundle;
  const own = Module.createRequire(BUNDLE);
  const run = script.runInThisContext();
  run.call(bundle.exports, bundle.exports, own, bundle, BUNDLE, path.dirname(BUNDLE), (name) => import(name));
  bundle.loaded = true;
  return bundle.exports;
}

/**
 * Where the compiled code is kept, or undefined where there is no safe place. One file a command, because each uses other
 * parts. The first line of the bundle has its hash; size and time tell a file that somebody has changed by hand.
 */
function keptFile(code) {
  const directory = privateDirectory();
  const [command = ''] = process.argv.slice(2);
  const { size, mtimeMs } = fs.statSync(BUNDLE);
  const about = [code.slice(3, code.indexOf('\n')), size, mtimeMs, process.version, process.arch];
  const name = `${about.join('-')}-${/^[a-z]+$/.test(command) ? command : 'etl'}.bin`;
  return directory && path.join(directory, name);
}

/** V8 executes what it finds here: it has to belong to this user, and nobody else may write to it. */
function privateDirectory() {
  const directory = path.join(cacheHome(), 'etl');
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.lstatSync(directory);
    const isPrivate = !process.getuid || (uid === process.getuid() && (mode & 0o077) === 0);
    return isPrivate ? directory : undefined;
  } catch {
    // A home that is read-only or not there costs time at each start, and no more.
    return undefined;
  }
}

/** The user's cache directory by the rules of the system (https://specifications.freedesktop.org/basedir-spec). */
function cacheHome() {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (XDG_CACHE_HOME && path.isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME;
  if (process.platform === 'win32' && LOCALAPPDATA) return LOCALAPPDATA;
  return path.join(homedir(), process.platform === 'darwin' ? 'Library/Caches' : '.cache');
}

function read(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined; // Nobody has run this command yet.
  }
}
