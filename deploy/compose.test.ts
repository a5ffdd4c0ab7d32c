import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { environmentNames, loadConfig } from '../platform/config.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
}

const services = (
  parse(await readFile(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
    services: Record<string, Service>;
  }
).services;
const ours = Object.entries(services).filter(([, { build }]) => build !== undefined);

test('the compose file runs api, worker, inference and the migration beside what they need', () => {
  expect(ours.map(([name]) => name).toSorted()).toEqual(['api', 'inference', 'migrate', 'worker']);
  expect(Object.keys(services)).toEqual(
    expect.arrayContaining(['postgres', 'temporal', 'temporal-setup', 'temporal-ui', 'prometheus', 'grafana']),
  );
});

test.each(ours)('the environment of %s is in the configuration schema, and valid', (_name, { environment = {} }) => {
  expect(environmentNames()).toEqual(expect.arrayContaining(Object.keys(environment)));
  const values = Object.entries(environment).map(([name, value]) => [name, value.replace(/\$\{\w+:-([^}]*)\}/g, '$1')]);
  expect(() => loadConfig(Object.fromEntries(values) as Record<string, string>)).not.toThrow();
});

test('the environment of the image is in the configuration schema', async () => {
  const dockerfile = await readFile(join(ROOT, 'Dockerfile'), 'utf8');
  const names = [...dockerfile.matchAll(/\b(SERIN_[A-Z_]+|TEMPORAL_[A-Z_]+)\b/g)].map(([name]) => name);
  expect(names.length).toBeGreaterThan(0);
  expect(environmentNames()).toEqual(expect.arrayContaining(names));
});

test('images are pinned, dependencies exist, and mounted files are in the repository', () => {
  for (const [name, { image = '', depends_on: needs = {}, volumes = [] }] of Object.entries(services)) {
    expect(image, name).toMatch(/:\d|:v\d/);
    expect(Object.keys(services)).toEqual(expect.arrayContaining(Object.keys(needs)));
    for (const mount of volumes.filter((volume) => volume.startsWith('./'))) {
      expect(existsSync(join(ROOT, mount.split(':')[0] ?? '')), mount).toBe(true);
    }
  }
});

test('every process runs a program that is compiled', () => {
  const programs = ours.map(([, { command = [] }]) => command[0] ?? '');
  expect(programs.toSorted()).toEqual([
    'dist/api/main.js',
    'dist/cli/main.js',
    'dist/inference/main.js',
    'dist/workers/main.js',
  ]);
  for (const program of programs) {
    expect(existsSync(join(ROOT, program.replace('dist/', '').replace(/\.js$/, '.ts'))), program).toBe(true);
  }
});

test('docker compose accepts the file', ({ skip }) => {
  try {
    execFileSync('docker', ['compose', 'version'], { stdio: 'ignore' });
  } catch {
    skip('this machine has no docker compose');
  }
  const config = () =>
    execFileSync('docker', ['compose', '-f', join(ROOT, 'docker-compose.yml'), 'config', '--quiet'], { stdio: 'pipe' });
  expect(config).not.toThrow();
});

test('dashboards and docs name only metrics that Serin has', async () => {
  const sources: string[] = [];
  for (const room of ['platform', 'api', 'inference', 'workers', 'activities']) {
    for (const entry of await readdir(join(ROOT, room), { recursive: true })) {
      if (entry.endsWith('.ts') && !entry.endsWith('.test.ts'))
        sources.push(await readFile(join(ROOT, room, entry), 'utf8'));
    }
  }
  const code = sources.join('\n');
  const folder = join(ROOT, 'deploy/grafana/dashboards');
  const dashboards = (await readdir(folder)).map((file) => join(folder, file));
  const docs = (await readdir(join(ROOT, 'docs'), { recursive: true })).filter((file) => file.endsWith('.md'));
  for (const file of [...dashboards, ...docs.map((each) => join(ROOT, 'docs', each))]) {
    const text = await readFile(file, 'utf8');
    // a name that goes on (`serin_inference_oip_*`) stands for all that begin so
    const names = [...text.matchAll(/\bserin_[a-z_]+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ''));
    if (dashboards.includes(file)) expect(names.length).toBeGreaterThan(0);
    for (const name of new Set(names))
      expect(code, `${name} in ${file}`).toContain(name.endsWith('_') ? `'${name}` : `'${name}'`);
  }
});
