/** What is said about the cells of a dataset: the events behind a row, and what made two datasets differ. */
import type { Micros } from '../time.ts';
import type { DatasetManifest } from './dataset-manifest.ts';
import type { Operation } from './log-file.ts';

/** A stored row of a source's log. */
export interface SourceEvent {
  readonly source: string;
  readonly eventId: string;
  /** Its number in the order of arrival. */
  readonly seq: number;
  readonly eventAt: Micros;
  readonly availableAt: Micros;
  readonly operation: Operation;
}

/**
 * Why a stored row that lies in a feature's reach is not in its value: a newer version of it stands (`superseded`), it was
 * taken back (`retracted`), a newer version has another key (`moved`), a tombstone of its key (`ended`), the feature's own
 * condition (`filtered`).
 */
export interface LeftOutEvent {
  readonly event: SourceEvent;
  readonly because: 'superseded' | 'retracted' | 'moved' | 'ended' | 'filtered';
  /** The row that did it; null for `filtered`. */
  readonly by: SourceEvent | null;
}

export type FeatureExplanation =
  | {
      readonly kind: 'view';
      readonly feature: string;
      readonly value: number | null;
      /** `name@version` */
      readonly view: string;
      readonly status: string;
      /** `(start, end]`; start null: all of the past. Null for a latest value. */
      readonly window: { readonly start: Micros | null; readonly end: Micros } | null;
      /** Events behind the value, and of them the newest `EXPLAINED_EVENTS`, with the oldest of all. */
      readonly count: number;
      readonly events: readonly SourceEvent[];
      readonly first: SourceEvent | null;
      /** The newest `EXPLAINED_EVENTS` of those in reach that are not in the value. */
      readonly leftOut: readonly LeftOutEvent[];
    }
  | {
      readonly kind: 'derived';
      readonly feature: string;
      readonly value: number | null;
      /** Request fields and other features, by name. */
      readonly reads: Readonly<Record<string, number | string | boolean | null>>;
    };

export const EXPLAINED_EVENTS = 20;

/** Events that one answer holds in all: it travels as one message, of which 2 MB is the limit. */
const ANSWERED_EVENTS = 4_000;

/** How many events each of so many lists may name. */
export function eventsEach(lists: number): number {
  return Math.max(1, Math.min(EXPLAINED_EVENTS, Math.floor(ANSWERED_EVENTS / Math.max(1, lists))));
}

export interface RowExplanation {
  readonly dataset: string;
  readonly row: number;
  readonly asOf: Micros;
  readonly split: string;
  readonly request: Readonly<Record<string, number | string | boolean | null>>;
  readonly label: {
    readonly name: string;
    readonly value: number | null;
    readonly status: string;
    /** The row's own event, or those in the label's window; the newest. */
    readonly events: readonly SourceEvent[];
  };
  readonly features: readonly FeatureExplanation[];
}

/** A cell that differs, with the rows of logs that one of the datasets knew and the other did not. */
export interface ChangedCell {
  readonly row: number;
  readonly asOf: Micros;
  readonly before: number | string | null;
  readonly after: number | string | null;
  /** Of them the newest. */
  readonly events: readonly SourceEvent[];
  readonly eventCount: number;
}

export interface ChangedColumn {
  readonly column: string;
  readonly changed: number;
  readonly samples: readonly ChangedCell[];
}

export interface DatasetDiff {
  readonly before: DatasetSide;
  readonly after: DatasetSide;
  /** Rows of both, and those of one alone with the first of their numbers. */
  readonly common: number;
  readonly added: { readonly rows: number; readonly samples: readonly number[] };
  readonly removed: { readonly rows: number; readonly samples: readonly number[] };
  /** Columns with a cell that differs, in their order: the label, its status and the split, then the features. */
  readonly columns: readonly ChangedColumn[];
}

export interface DatasetSide {
  readonly digest: string;
  readonly rows: number;
  readonly knowledgeCut: DatasetManifest['knowledgeCut'];
}
