/** What the load generator (load/main.go) prints. */
export interface LoadReport {
  readonly mode: 'closed' | 'open';
  readonly connections: number;
  readonly rate: number;
  readonly requests: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly loadCpuSeconds: number;
  readonly seconds: number;
  readonly firstError: string;
}
