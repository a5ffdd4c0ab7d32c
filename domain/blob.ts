/** Immutable bytes by content: the same bytes have the same name, so a reference can be checked by whoever reads it. */
export interface BlobRef {
  /** `sha256:<hex>`; where the bytes lie is the store's business. */
  readonly uri: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** The one interface to stored bytes. Writing is atomic (write, fsync, rename); reading checks the digest. */
export interface BlobStore {
  put(bytes: Uint8Array): Promise<BlobRef>;
  /** Takes over a finished local file (moved or copied, the caller must not use it afterwards). */
  putFile(path: string): Promise<BlobRef>;
  get(ref: Pick<BlobRef, 'sha256'>): Promise<Uint8Array>;
  /** A local, read-only file that holds the blob, its digest checked, for readers that need a path (DuckDB). */
  localPath(ref: Pick<BlobRef, 'sha256'>): Promise<string>;
  has(ref: Pick<BlobRef, 'sha256'>): Promise<boolean>;
  /** For what nothing refers to any more, such as intermediate files; one that is not there is gone already. */
  remove(ref: Pick<BlobRef, 'sha256'>): Promise<void>;
}
