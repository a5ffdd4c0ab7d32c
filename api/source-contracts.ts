import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import { getProjectOfSource } from '../db/projects.ts';
import type { Tables } from '../db/schema.ts';
import {
  createEventIdentity,
  createRowContract,
  eventIdOfDigest,
  type RowContract,
} from '../domain/features/row-contract.ts';
import type { Row } from '../domain/project/expression.ts';
import type { SourceSpec } from '../domain/project/spec.ts';

export interface SourceContract {
  readonly check: RowContract['check'];
  /** The 128-bit id that makes two events one, as the offline log computes it in SQL. */
  readonly eventIdOf: (row: Row) => string;
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
        : createSourceContract(spec.sources.find(({ name }) => name === source)!);
    cache.set(source, { digest, contract, until: now + TTL_MS });
    return contract;
  };
}

export function createSourceContract(spec: SourceSpec): SourceContract {
  const contract = createRowContract(spec);
  const identity = createEventIdentity(spec);
  return {
    check: (event) => contract.check(event),
    eventIdOf: (row) => eventIdOfDigest(createHash('sha256').update(identity(row)).digest('hex')),
  };
}
