import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createLogger } from '../platform/logger.ts';
import { environmentNames, loadConfig } from '../platform/config.ts';
import { startStandaloneNode } from '../inference/process/standalone-node.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = join(ROOT, 'deploy/kubernetes');

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: { readonly containers: readonly [Container]; readonly terminationGracePeriodSeconds: number };
    };
    readonly ports: readonly { readonly targetPort: string }[];
    readonly scaleTargetRef: { readonly name: string };
  };
}

const texts = new Map<string, string>();
for (const name of await readdir(FOLDER)) texts.set(name, await readFile(join(FOLDER, name), 'utf8'));
const manifests = [...texts].flatMap(([file, text]) =>
  parseAllDocuments(text).map((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors.join('; ')}`);
    return document.toJS() as Manifest;
  }),
);
const ofKind = (kind: string): Manifest => manifests.find((manifest) => manifest.kind === kind)!;
const deployment = ofKind('Deployment');
const [container] = deployment.spec.template.spec.containers;

test('the files describe a deployment, its service, its budget, and two ways to scale it', () => {
  expect(manifests.map(({ kind }) => kind).toSorted()).toEqual([
    'ConfigMap',
    'Deployment',
    'HorizontalPodAutoscaler',
    'PodDisruptionBudget',
    'ScaledObject',
    'Service',
  ]);
  expect(deployment.spec.template.metadata.labels).toEqual(deployment.spec.selector.matchLabels);
  expect(ofKind('PodDisruptionBudget').spec.selector.matchLabels).toEqual(deployment.spec.selector.matchLabels);
  expect(ofKind('Service').spec.selector).toEqual(deployment.spec.selector.matchLabels);
  for (const kind of ['HorizontalPodAutoscaler', 'ScaledObject'])
    expect(ofKind(kind).spec.scaleTargetRef.name).toBe(deployment.metadata.name);
});

test('the container runs a program that is compiled, in an environment that is in the schema and valid', () => {
  const [program] = container.args;
  expect(existsSync(join(ROOT, program!.replace('dist/', '').replace(/\.js$/, '.ts')))).toBe(true);
  expect(environmentNames()).toEqual(expect.arrayContaining(container.env.map(({ name }) => name)));
  const values = container.env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value] as const]));
  const config = loadConfig(Object.fromEntries(values));
  const ports = new Map(container.ports.map(({ name, containerPort }) => [name, containerPort]));
  expect(ports).toEqual(
    new Map([
      ['http', config.inferencePort],
      ['metrics', config.metricsPort],
    ]),
  );
  expect(ofKind('Service').spec.ports.map(({ targetPort }) => targetPort)).toEqual(['http']);
});

test('probes and autoscalers ask for what a server answers', async () => {
  const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
  const node = await startStandaloneNode([], { nodeId: 'test' }, logger);
  try {
    for (const { httpGet } of [container.startupProbe, container.readinessProbe, container.livenessProbe])
      expect((await node.app.inject(httpGet.path)).statusCode, httpGet.path).toBeOneOf([200, 503]);
    const metrics = await node.registry.metrics();
    for (const [file, text] of texts) {
      for (const [name] of text.matchAll(/\bserin_[a-z_]+/g))
        expect(metrics, `${name} in ${file}`).toContain(`# TYPE ${name} `);
    }
    expect([...texts.values()].join('')).toContain('serin_inference_queued_rows');
  } finally {
    await node.close();
  }
});
