import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { createApp } from '../../api/app.ts';
import { watchApplied } from '../../api/applied-watch.ts';
import type { Operation, Workflows } from '../../api/workflow-client.ts';
import { loadProject } from '../../cli/load-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { createToken, type Role } from '../../db/tokens.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import type { ModelVersionManifest } from '../../domain/registry/manifest.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { createTestDatabase } from './test-database.ts';

/** The control plane over a database of its own, with workflows that only remember that they were started. */
export interface ApiFixture {
  readonly app: FastifyInstance;
  readonly database: Database;
  readonly workflows: RecordedWorkflows;
  readonly flights: { readonly spec: ProjectSpec; readonly digest: string };
  as(role: Role, principal?: string): Promise<Caller>;
  close(): Promise<void>;
}

/** A trained version of the flights project's model, as the registry takes it. */
export function flightsManifest({ flights }: Pick<ApiFixture, 'flights'>): ModelVersionManifest {
  return {
    model: 'flight-delay',
    version: 1,
    kind: 'onnx',
    project: 'flights',
    projectDigest: flights.digest,
    featureSet: 'delay_features@1',
    featureNames: [],
    modelFile: null,
    threshold: 0.3,
    training: 'logistic',
    dataset: null,
    runId: 'run-1',
    evaluation: null,
    gateReportSha256: null,
    author: 'ada',
  };
}

export interface Answer {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are read member by member in assertions
  readonly body: any;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface Caller {
  get(path: string): Promise<Answer>;
  send(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<Answer>;
}

export const NOW = 991_353_600_000_000; // 2001-06-01T00:00:00Z

export async function createApiFixture(overrides: { readonly workflows?: Workflows } = {}): Promise<ApiFixture> {
  const database = connectDatabase(await createTestDatabase(), { name: 'test', max: 6 });
  const folder = await mkdtemp(join(tmpdir(), 'serin-api-'));
  const applied = watchApplied(database.db, database.pool);
  const workflows = new RecordedWorkflows();
  const app = await createApp({
    db: database.db,
    pool: database.pool,
    blobs: openBlobStore(pathToFileURL(folder).href),
    workflows: overrides.workflows ?? workflows,
    applied,
    logger: createLogger({ service: 'api', node: 'test', level: 'silent' }),
    registry: new Registry(),
    config: { temporalUiUrl: 'http://temporal.test', temporalNamespace: 'default' },
    now: () => NOW,
  });
  const flights = await loadProject('examples/flights/project.ts');
  return {
    app,
    database,
    workflows,
    flights,
    async as(role, principal = role) {
      const token = await createToken(database.db, { principal, roles: [role], at: NOW });
      const call = async (
        method: 'GET' | 'POST' | 'PUT' | 'DELETE',
        path: string,
        body?: object,
        headers: Record<string, string> = {},
      ) => {
        const response = await app.inject({
          method,
          url: path,
          headers: { authorization: `Bearer ${token}`, ...headers },
          ...(body !== undefined && { payload: body }),
        });
        return {
          status: response.statusCode,
          body: response.body === '' ? null : JSON.parse(response.body),
          headers: response.headers,
        };
      };
      return { get: (path) => call('GET', path), send: call };
    },
    async close() {
      await app.close();
      await applied.close();
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** In the place of Temporal. */
export class RecordedWorkflows implements Workflows {
  readonly started: Parameters<Workflows['start']>[0][] = [];
  readonly commands: { workflowId: string; type: string; input: Parameters<Workflows['command']>[2] }[] = [];
  readonly operations = new Map<string, Operation>();
  /** What the next command is answered with, if it is refused. */
  refusal: Error | null = null;

  async start(request: Parameters<Workflows['start']>[0]): Promise<{ workflowId: string }> {
    this.started.push(request);
    return { workflowId: request.workflowId };
  }

  async find(workflowId: string): Promise<Operation | undefined> {
    const known = this.operations.get(workflowId);
    if (known !== undefined) return known;
    const started = this.started.find((each) => each.workflowId === workflowId);
    return started && { workflowId, runId: 'r1', type: started.type, status: 'running' };
  }

  async command(workflowId: string, type: string, input: Parameters<Workflows['command']>[2]) {
    this.commands.push({ workflowId, type, input });
    if (this.refusal !== null) throw this.refusal;
    return { phase: 'paused' as const, details: 'paused' };
  }

  async cancel(): Promise<boolean> {
    return false;
  }

  async putSchedule() {
    return { scheduleId: 'deliver/x', created: true };
  }

  async deleteSchedule(): Promise<boolean> {
    return false;
  }

  async isReachable(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {}
}
