/** One sign that a feature knows what it could not have known when the prediction was asked for. */
export interface LeakageFinding {
  /** The feature, or `<alias>__*` when it is about all features of a view. */
  readonly feature: string;
  /**
   * `own_event`: the spine row's own event, which holds the label, is visible at the row's asOf.
   * `availability`: events are recorded as available before they happened, so availability is not a measured time.
   * `separation`: the feature alone tells the classes apart better than honest features do.
   */
  readonly kind: 'availability' | 'own_event' | 'separation';
  readonly severity: 'fail' | 'warn';
  /** A share of rows, for `separation` an AUC; both in [0, 1]. */
  readonly value: number;
  readonly sentence: string;
}
