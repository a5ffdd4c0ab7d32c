#!/usr/bin/env node
// From a clean clone to any command: plain JavaScript without dependencies, since nothing is installed yet when it starts.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const DIST = join(ROOT, 'dist');
const NODE_MIN = [20, 20];

const COMMANDS = {
  build: (args) => ensureBuilt({ keepGoing: args.includes('--keep-going') }),
  serin: (args) => serin(args),
  demo: (args) => compiled('examples/flights/demo/main.js', args),
  test: (args) => test(args),
  check: () => check(),
  'conformance:stats': (args) => compiled('test/conformance/stats.js', args),
  'conformance:pit': (args) => compiled('test/conformance/pit/main.js', args),
  'conformance:skew': (args) => compiled('test/conformance/skew/main.js', args),
  bench: ([name = '', ...args]) => compiled(`bench/${name}/main.js`, args),
};

/** An error a person can act on: printed as one sentence. */
class Refusal extends Error {}

async function main([name, ...args]) {
  requireNode();
  const command = COMMANDS[name];
  if (command === undefined)
    throw new Refusal(`usage: node scripts/bootstrap.mjs ${Object.keys(COMMANDS).join('|')} [arguments]`);
  await ensureInstalled();
  return command(args);
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return;
  throw new Refusal(
    `Serin needs Node.js ${NODE_MIN.join('.')} or newer, this is ${process.versions.node}: install a newer one from https://nodejs.org`,
  );
}

/** npm writes a copy of the lock file into node_modules: when its packages are those of ours, everything is installed. */
async function ensureInstalled() {
  const wanted = packagesOf(join(ROOT, 'package-lock.json'));
  const installed = packagesOf(join(ROOT, 'node_modules', '.package-lock.json'));
  const stale = Object.entries(wanted).filter(([path, entry]) => {
    if (path === '' || !fitsThisMachine(entry)) return false;
    return (
      installed[path]?.version !== entry.version ||
      (entry.integrity !== undefined && installed[path]?.integrity !== entry.integrity)
    );
  });
  if (stale.length === 0) return;
  say(`installing ${Object.keys(wanted).length - 1} npm packages (npm ci, no install scripts)`);
  const startedAtMs = Date.now();
  const timer = setInterval(() => say(`  ${Math.round((Date.now() - startedAtMs) / 1000)} s`), 15_000);
  try {
    const { code, output } = await run(
      'npm',
      ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      { capture: true },
    );
    if (code !== 0)
      throw new Refusal(
        `npm ci did not succeed (is there a network, or a package registry?):\n${output.trim().split('\n').slice(-8).join('\n')}`,
      );
  } finally {
    clearInterval(timer);
  }
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages;
  } catch {
    return {};
  }
}

/** Optional packages for other machines are not installed. An optional one that fits may still be left out by npm. */
function fitsThisMachine({ os, cpu, libc, optional, devOptional, peer }) {
  if (optional || devOptional || peer || libc) return false;
  return matches(os, process.platform) && matches(cpu, process.arch);
}

function matches(list, value) {
  if (list === undefined) return true;
  return list.some((entry) => !entry.startsWith('!')) ? list.includes(value) : !list.includes(`!${value}`);
}

/** Compiles when a source is newer than the last build, then bundles the workflows. Type errors can be told and passed over. */
async function ensureBuilt({ keepGoing = false } = {}) {
  const stamp = join(DIST, '.built');
  const builtAtMs = existsSync(stamp) ? statSync(stamp).mtimeMs : 0;
  if (newestSourceMs(ROOT) <= builtAtMs && builtAtMs > 0) return 0;
  const release = await takeTurn(join(ROOT, '.serin', 'build.lock'));
  try {
    const startedAtMs = Date.now();
    const { code, output } = await run(process.execPath, [bin('typescript', 'tsc'), '-p', 'tsconfig.build.json'], {
      capture: true,
    });
    const complaint = `the sources do not compile:\n${output.trim()}`;
    if (code !== 0 && !keepGoing) throw new Refusal(complaint);
    if (code !== 0) say(complaint);
    removeOrphans(DIST);
    const bundler = join(DIST, 'workers', 'build-bundle.js');
    if (existsSync(bundler)) {
      const bundled = await run(process.execPath, [bundler], { capture: true });
      if (bundled.code !== 0) throw new Refusal(`the workflows do not bundle:\n${bundled.output.trim()}`);
    }
    if (code !== 0) return 0;
    writeFileSync(stamp, '');
    utimesSync(stamp, new Date(), new Date(startedAtMs)); // what changed while it compiled is compiled again
  } finally {
    release();
  }
  return 0;
}

const NOT_SOURCES = new Set(['node_modules', 'dist', '.git', '.serin', 'docs', 'deploy', 'coverage']);

function newestSourceMs(folder) {
  let newest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!NOT_SOURCES.has(entry.name)) newest = Math.max(newest, statSync(path).mtimeMs, newestSourceMs(path));
    } else if (/\.(ts|json)$/.test(entry.name) && !entry.name.endsWith('.test.ts')) {
      newest = Math.max(newest, statSync(path).mtimeMs);
    }
  }
  return newest;
}

/** Compiled files whose source is gone would still be found by their importers. */
function removeOrphans(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) removeOrphans(path);
    else if (
      entry.name.endsWith('.js') &&
      !existsSync(join(ROOT, path.slice(DIST.length).replace(/\.js$/, '.ts'))) &&
      existsSync(`${path}.map`)
    ) {
      rmSync(path);
      rmSync(`${path}.map`);
    }
  }
}

/** One build at a time in a checkout; a turn that was never given back is taken after its process has ended. */
async function takeTurn(lock) {
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return () => rmSync(lock, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (!lives(Number(readIfThere(lock)))) rmSync(lock, { force: true });
      else await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function lives(pid) {
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

async function serin(args) {
  return compiled('cli/main.js', args);
}

async function compiled(module, args) {
  await ensureBuilt();
  const path = join(DIST, module);
  if (!existsSync(path)) throw new Refusal(`there is no ${module.replace(/\.js$/, '.ts')} to run`);
  return (await run(process.execPath, ['--enable-source-maps', path, ...args])).code;
}

async function ensureTemporal() {
  if (process.env.TEMPORAL_ADDRESS) return;
  const { obtainTemporalCli } = await import(pathToFileURL(join(DIST, 'platform/embedded/temporal-cli.js')).href);
  const { loadConfig } = await import(pathToFileURL(join(DIST, 'platform/config.js')).href);
  await obtainTemporalCli({ config: loadConfig(), onProgress: say });
}

/** Runs every test, or those named, and ends with the count. */
async function test(args) {
  const { passed, failed, code } = await countTests(args);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return code;
}

async function countTests(args) {
  await ensureBuilt();
  await ensureTemporal();
  const report = join(tmpdir(), `serin-tests-${process.pid}.json`);
  const { code } = await run(process.execPath, [
    bin('vitest', 'vitest'),
    'run',
    '--reporter=default',
    '--reporter=json',
    '--reporter=./test/setup/second-tries.mjs',
    `--outputFile.json=${report}`,
    ...args,
  ]);
  try {
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
    // a file that could not be loaded has no tests to count, and is a failure all the same
    const broken = testResults.filter(
      ({ status, assertionResults }) =>
        status === 'failed' && assertionResults.every((result) => result.status !== 'failed'),
    ).length;
    const failed = numFailedTests + broken;
    return { passed: numPassedTests, failed: code !== 0 && failed === 0 ? 1 : failed, code };
  } catch {
    return { passed: 0, failed: 1, code: code || 1 };
  } finally {
    rmSync(report, { force: true });
  }
}

async function check() {
  const steps = [
    { name: 'types', step: () => run(process.execPath, [bin('typescript', 'tsc'), '-p', 'tsconfig.json']) },
    {
      name: 'lint and import rules',
      step: () => run(process.execPath, [bin('oxlint', 'oxlint'), '--type-aware', '--deny-warnings']),
    },
    { name: 'format', step: () => run(process.execPath, [bin('oxfmt', 'oxfmt'), '--check']) },
    { name: 'unused code', step: () => run(process.execPath, [bin('knip', 'knip')]) },
  ];
  let passed = 0;
  let failed = 0;
  for (const { name, step } of steps) {
    const { code } = await step();
    if (code === 0) passed += 1;
    else failed += 1;
    say(`${name}: ${code === 0 ? 'ok' : 'failed'}`);
  }
  const tests = await countTests([]);
  passed += tests.passed;
  failed += tests.failed;
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

/** The program of a package, run by node without npx. */
function bin(name, program) {
  const { bin: programs } = JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8'));
  return join(ROOT, 'node_modules', name, typeof programs === 'string' ? programs : programs[program]);
}

function run(command, args, { capture = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}` },
      stdio: capture ? ['ignore', 'pipe', 'pipe'] : 'inherit',
      shell: process.platform === 'win32' && command === 'npm',
    });
    let output = '';
    for (const stream of capture ? [child.stdout, child.stderr] : []) {
      stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    }
    // the child shares the terminal and gets Ctrl-C itself; other signals are passed on
    const passOn = (signal) => child.kill(signal);
    const ignore = () => undefined;
    process.on('SIGTERM', passOn).on('SIGINT', ignore);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      process.off('SIGTERM', passOn).off('SIGINT', ignore);
      resolve({ code: code ?? (signal === 'SIGINT' ? 130 : 1), output });
    });
  });
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(
    `${error instanceof Refusal || error?.name === 'SerinError' ? error.message : (error?.stack ?? error)}\n`,
  );
  process.exitCode = 1;
}
