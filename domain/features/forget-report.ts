/** The places that an entity is removed from, in the order of the work. */
export const FORGET_PLACES = ['buffer', 'refused', 'log', 'quarantine', 'online', 'predictions', 'datasets'] as const;
export type ForgetPlace = (typeof FORGET_PLACES)[number];

export interface PlaceReport {
  readonly place: ForgetPlace;
  /** Rows (states, in the online store) that were taken out, by this attempt and those before it. */
  readonly removed: number;
  /** What the last scan found: 0. */
  readonly left: number;
}

/** What `forgetEntity` did and proved. It holds no key. */
export interface ForgetReport {
  readonly places: readonly PlaceReport[];
  /** Stored files that held the key and are gone. */
  readonly blobsRemoved: number;
  /** Those whose very bytes something else names too, such as another project's log; 0 as a rule. */
  readonly blobsKept: number;
  readonly scannedAt: number;
}

export type Counts = Readonly<Record<ForgetPlace, number>>;
