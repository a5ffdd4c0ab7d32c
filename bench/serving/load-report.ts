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

/** What the load generator saw, with what the server used meanwhile. */
export interface Measurement extends LoadReport {
  readonly server: string;
  readonly model: string;
  readonly round: number;
  readonly cpuMicrosPerRequest: number;
  readonly residentMiB: number;
  /** Cores that neither the server nor the load generator used. */
  readonly foreignCores: number;
}

export type Measure = (load: {
  connections: number;
  rate: number;
  seconds: number;
}) => Promise<Omit<Measurement, 'round'>>;
