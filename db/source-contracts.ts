import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Operation } from '../domain/features/log-file.ts';
import {
  createEventIdentity,
  createRowContract,
  createVersionIdentity,
  eventIdOfDigest,
  keysOfSource,
  type RowReason,
} from '../domain/features/row-contract.ts';
import type { Row } from '../domain/project/expression.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import type { BufferedEvent } from './ingest.ts';
import { getProjectOfSource } from './projects.ts';
import type { Tables } from './schema.ts';

export type Admission =
  | { readonly ok: true; readonly event: BufferedEvent }
  | { readonly ok: false; readonly reasons: readonly RowReason[] };

export interface SourceContract {
  /** Checks a pushed event and gives it its ids. @param clockAt the sender's clock */
  admit(event: Readonly<Record<string, unknown>>, clockAt: Micros): Admission;
}

/** How old the look at which project version is in force may be: events come many times a second, projects do not. */
const TTL_MS = 1_000;

/** The contract of a source by the project version in force, compiled once per version. */
export function createSourceContracts(db: Kysely<Tables>): (source: string) => Promise<SourceContract> {
  const cache = new Map<
    string,
    { readonly digest: string; readonly contract: SourceContract; readonly until: number }
  >();
  return async (source) => {
    const now = performance.now();
    const cached = cache.get(source);
    if (cached !== undefined && cached.until > now) return cached.contract;
    const { digest, spec } = await getProjectOfSource(db, source);
    const contract =
      cached?.digest === digest
        ? cached.contract
        : createSourceContract(
            spec.sources.find(({ name }) => name === source)!,
            keysOfSource(spec, source),
          );
    cache.set(source, { digest, contract, until: now + TTL_MS });
    return contract;
  };
}

/** @param keys of the views over the source (`keysOfSource`) */
export function createSourceContract(source: SourceSpec, keys: readonly (readonly string[])[]): SourceContract {
  const contract = createRowContract(source, keys);
  const identify = createRowIds(source);
  return {
    admit(event, clockAt) {
      const check = contract.check(event);
      if (!check.ok) return check;
      const { row, eventAt, availableAt, operation } = check;
      const ids = identify(row, operation, availableAt);
      return { ok: true, event: { ...ids, eventAt, availableAt, clockAt, operation, row } };
    },
  };
}

export interface RowIds {
  /** What makes two rows one event, as `eventIdSql` computes it for the log. */
  readonly eventId: string;
  /** What makes two rows the same row, as `versionIdSql` computes it. */
  readonly versionId: string;
}

export function createRowIds(source: SourceSpec): (row: Row, operation: Operation, availableAt: Micros) => RowIds {
  const eventIdentity = createEventIdentity(source);
  const versionIdentity = createVersionIdentity(source);
  return (row, operation, availableAt) => {
    const eventId = idOf(eventIdentity(row));
    const version = versionIdentity(row, operation, availableAt);
    return { eventId, versionId: version === null ? eventId : idOf(version) };
  };
}

function idOf(identity: string): string {
  return eventIdOfDigest(createHash('sha256').update(identity).digest('hex'));
}
