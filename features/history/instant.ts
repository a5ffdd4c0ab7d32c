/** Instants belong to `domain/` (splits and times as text need them there too); this is where the kernel's callers find them. */
export { compareInstants, type Instant, minus, plus, toInstant } from '../../domain/instant.ts';
