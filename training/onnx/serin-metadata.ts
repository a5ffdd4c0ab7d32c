/** Marks a file as written by Serin; such a file has all of the metadata below. */
export const PRODUCER = 'serin';

/** Keys of the model's metadata, written in this order, last in the file. */
export const METADATA = {
  kind: 'serin.kind',
  /** JSON array of the feature columns, in the order of the input. */
  columns: 'serin.columns',
} as const;
