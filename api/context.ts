import type { Access } from './access.ts';
import type { ApiDependencies } from './dependencies.ts';

/** What routes get: the dependencies, and what belongs to this one server. */
export interface ApiContext extends ApiDependencies {
  readonly access: Access;
  /** Ends the long polls when the server closes. */
  readonly closing: AbortSignal;
}
