#!/usr/bin/env node
// npm leaves optional packages for other platforms out of package-lock.json when the registry at hand does not have them, and
// then `npm ci` refuses that lock file everywhere. This puts them back: run it after every `npm install` that changed the lock.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const LOCK_FILE = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const SYSTEMS = ['darwin', 'linux', 'win32', 'android', 'freebsd', 'openharmony', 'netbsd', 'openbsd', 'sunos', 'aix'];
const PROCESSORS = {
  x64: 'x64',
  arm64: 'arm64',
  ia32: 'ia32',
  arm: 'arm',
  ppc64: 'ppc64',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
};

/** Path → entry of the optional packages a lock file names but does not lock. */
export function missingEntries({ packages }) {
  const missing = {};
  for (const [path, { optionalDependencies = {}, dev }] of Object.entries(packages)) {
    for (const [name, range] of Object.entries(optionalDependencies)) {
      if (!isLocked(packages, path, name)) missing[`node_modules/${name}`] = entryOf(name, range, dev);
    }
  }
  return missing;
}

function isLocked(packages, path, name) {
  for (let base = path; ; base = base.slice(0, Math.max(0, base.lastIndexOf('node_modules/') - 1))) {
    if (packages[`${base}${base === '' ? '' : '/'}node_modules/${name}`] !== undefined) return true;
    if (base === '') return false;
  }
}

/** The platform is in the name, by the convention of napi-rs that all of these follow. */
function entryOf(name, range, dev) {
  const words = name.split(/[-/]/);
  const system = words.find((word) => SYSTEMS.includes(word));
  const processor = words.find((word) => word in PROCESSORS);
  const musl = words.some((word) => word.startsWith('musl'));
  return {
    version: range.replace(/^[\^~>=]+/, ''),
    ...(processor === undefined ? {} : { cpu: [PROCESSORS[processor]] }),
    ...(dev ? { dev: true } : {}),
    ...(system === 'linux' && (musl || words.includes('gnu')) ? { libc: [musl ? 'musl' : 'glibc'] } : {}),
    optional: true,
    ...(system === undefined ? {} : { os: [system] }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lock = JSON.parse(readFileSync(LOCK_FILE, 'utf8'));
  const missing = missingEntries(lock);
  const { '': root, ...packages } = { ...lock.packages, ...missing };
  const sorted = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(LOCK_FILE, `${JSON.stringify({ ...lock, packages: { '': root, ...sorted } }, null, 2)}\n`);
  process.stdout.write(`${Object.keys(missing).length} entries put back\n`);
}
