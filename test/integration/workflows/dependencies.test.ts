import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const versionAt = (directory: string) =>
  (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }).version;

/** The folder of every installed copy of a package, nested ones included. */
function* copiesOf(name: string, modules: string): Generator<string> {
  if (!existsSync(modules)) return;
  for (const entry of readdirSync(modules)) {
    const packages = entry.startsWith('@')
      ? readdirSync(join(modules, entry)).map((scoped) => join(entry, scoped))
      : [entry];
    for (const found of packages) {
      if (found === name) yield join(modules, found);
      yield* copiesOf(name, join(modules, found, 'node_modules'));
    }
  }
}

/**
 * @temporalio/proto registers its messages in the protobufjs that it finds, and the other packages encode with the one that
 * they find. With two copies a message of one is a stranger to the other, and a worker fails on its first activation.
 */
test('all packages of Temporal share one protobufjs of major version 8', () => {
  const copies = [...copiesOf('protobufjs', join(ROOT, 'node_modules'))].map((directory) => ({
    where: relative(ROOT, directory),
    major: versionAt(directory).split('.')[0],
  }));
  expect(copies.filter(({ major }) => major === '8')).toEqual([{ where: 'node_modules/protobufjs', major: '8' }]);
  // gRPC's loader of .proto files, which Temporal does not use at run time, brings its own
  for (const { where, major } of copies) if (major !== '8') expect(where).toContain('@grpc/proto-loader');

  const temporal = join(ROOT, 'node_modules/@temporalio');
  for (const name of readdirSync(temporal)) {
    const found = createRequire(join(temporal, name, 'package.json')).resolve('protobufjs/package.json');
    expect(relative(ROOT, dirname(found)), `@temporalio/${name}`).toBe('node_modules/protobufjs');
  }
});
