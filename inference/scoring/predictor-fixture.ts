/** A predictor over plain versions, for tests: what is asked is one batch, what is told is kept. */
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, Instance } from './answer.ts';
import type { OnlineReader } from './feature-batch.ts';
import { type PredictWork, Predictor } from './predictor.ts';
import { aLedger, aStore, aVersionScorer, readerOf, unhurried } from './serving-fixture.ts';
import { SHADOW_LIMITS, ShadowRunner } from './shadow-runner.ts';

export function aPredictor(
  entry: RouteEntry,
  {
    store = aStore(),
    queuedRows = () => 0,
    others = {},
  }: { store?: OnlineReader; queuedRows?: () => number; others?: Readonly<Record<string, RouteEntry>> } = {},
) {
  const { ledger, accounting } = aLedger();
  const nowMs = () => performance.now();
  const scorer = aVersionScorer();
  // its time is unbounded: how busy the machine is must not tell
  const limits = { ...SHADOW_LIMITS, burstMs: Infinity, maxQueuedRows: 8, maxWaitingRows: 64 };
  const shadows = new ShadowRunner({ accounting, scorer, queuedRows, limits, nowMs, cpuMs: nowMs });
  const predictor = new Predictor({
    entryOf: (model) => (model === 'delay' ? entry : others[model]),
    features: readerOf(store),
    scorer,
    accounting,
    shadows,
  });
  /** Each list is one request; all of them are one batch. */
  const predict = async (...requests: Instance[][]): Promise<Answer[][]> => {
    const works: PredictWork[] = [];
    const answers = requests.map(
      (instances) =>
        new Promise<Answer[]>((resolve, reject) => {
          works.push({ ...aWork(instances), resolve: (given) => resolve([...given]), reject });
        }),
    );
    await predictor.run(works);
    return Promise.all(answers);
  };
  return { predictor, predict, ledger };
}

export function aWork(instances: readonly Instance[]): PredictWork {
  return {
    kind: 'predict',
    rows: instances.length,
    model: 'delay',
    instances,
    arrivedMs: 0,
    ...unhurried,
    resolve: () => undefined,
    reject: () => undefined,
  };
}

/** What most tests look at. */
export const brief = ({ instance, version, rung, arm, score, error }: Answer) => ({
  id: instance.predictionId,
  version,
  rung,
  arm,
  score,
  error,
});
