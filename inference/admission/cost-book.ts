import { CostModel } from './cost-model.ts';

/** What batches of each model cost. Models are those that were asked and exist, so there are few. */
export class CostBook {
  readonly #models = new Map<string, CostModel>();

  /** Undefined: no work of the model has come yet. */
  find(model: string): CostModel | undefined {
    return this.#models.get(model);
  }

  /** @param model that is served */
  of(model: string): CostModel {
    let cost = this.#models.get(model);
    if (cost === undefined) this.#models.set(model, (cost = new CostModel()));
    return cost;
  }

  entries(): IterableIterator<[model: string, cost: CostModel]> {
    return this.#models.entries();
  }
}
