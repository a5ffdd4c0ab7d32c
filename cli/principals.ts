import type { Credentials } from '../platform/embedded/credentials.ts';

/** Who the tokens of an embedded platform stand for: `serin --as NAME`, by name or by role. */
export const PRINCIPALS: readonly { readonly name: string; readonly role: keyof Credentials }[] = [
  { name: 'vera', role: 'viewer' },
  { name: 'ada', role: 'engineer' },
  { name: 'alan', role: 'approver' },
  { name: 'grace', role: 'operator' },
  { name: 'root', role: 'admin' },
];
