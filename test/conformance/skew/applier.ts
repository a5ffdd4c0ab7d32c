/** Who applies the rows of a world: a process of its own that is killed now and then, or this process. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { compiledModule } from '../../../domain/compiled-module.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import { catchUp, type SourceFeed } from './feeding.ts';
import { createRandom } from './random.ts';
import type { World, WorldSize } from './world.ts';

export interface Applier {
  /** Applies the world's first `rows` rows; ends when all views have them. */
  applyTo(rows: number): Promise<void>;
}

/** What the applier's process is told. It makes the world itself: the seed says all. */
export interface ApplierWork {
  readonly seed: number;
  readonly size: WorldSize;
  readonly version: number;
  readonly storeUrl: string;
  readonly rows: number;
}
export type ApplierReply = { readonly done: true } | { readonly failed: string };

/** Killed with SIGKILL in the middle of whatever it is doing, and started again by whoever needs it. */
export class ProcessApplier implements Applier {
  readonly #work: Omit<ApplierWork, 'rows'>;
  #host: ApplierHost;

  constructor(host: ApplierHost, work: Omit<ApplierWork, 'rows'>) {
    this.#host = host;
    this.#work = work;
  }

  applyTo(rows: number): Promise<void> {
    return this.#host.ask({ ...this.#work, rows });
  }
}

export class Killed extends Error {}

/** The applier's process, started when something is asked of it and none is there. */
export class ApplierHost {
  #child: ChildProcess | undefined;

  async ask(work: ApplierWork): Promise<void> {
    const child = (this.#child ??= start());
    const reply = new Promise<ApplierReply>((resolve, reject) => {
      const settle = (): void => {
        child.off('message', onMessage);
        child.off('exit', onExit);
      };
      const onMessage = (message: unknown): void => {
        settle();
        resolve(message as ApplierReply);
      };
      const onExit = (): void => {
        settle();
        reject(new Killed('the applier was killed'));
      };
      child.on('message', onMessage);
      child.on('exit', onExit);
    });
    child.send(work);
    const answer = await reply;
    if ('failed' in answer) throw new Error(`the applier failed: ${answer.failed}`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

function start(): ChildProcess {
  return fork(new URL(compiledModule(import.meta.url, './applier-process.ts')), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [],
  });
}

/** Applies in this process: for planted faults and for replays. */
export class LocalApplier implements Applier {
  readonly #store: OnlineStore;
  readonly #feeds: readonly SourceFeed[];
  readonly #random;

  constructor(world: World, feeds: readonly SourceFeed[], store: OnlineStore) {
    this.#store = store;
    this.#feeds = feeds;
    this.#random = createRandom(world.seed, 5);
  }

  applyTo(rows: number): Promise<void> {
    return catchUp(this.#store, this.#feeds, rows, this.#random);
  }
}
