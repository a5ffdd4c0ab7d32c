/** The process that applies the rows of a world to a store, and is killed while it does. Started by `applier.ts`. */
import { openOnlineStore, type OpenStore } from '../../../features/online/open-store.ts';
import type { ApplierReply, ApplierWork } from './applier.ts';
import { skewProject } from './definitions.ts';
import { catchUp, compileViews, feedsOf, type SourceFeed } from './feeding.ts';
import { createRandom } from './random.ts';
import { createWorld } from './world.ts';

let standing: { readonly key: string; readonly feeds: SourceFeed[] } | undefined;
let open: { readonly url: string; readonly store: OpenStore } | undefined;
// not of the world's stream: another attempt cuts and repeats its batches otherwise
const random = createRandom(process.pid);

async function work({ seed, size, version, storeUrl, rows }: ApplierWork): Promise<void> {
  const key = JSON.stringify([seed, size, version]);
  if (standing?.key !== key) {
    const project = skewProject(version);
    standing = { key, feeds: feedsOf(project, createWorld(seed, size), compileViews(project)) };
  }
  if (open?.url !== storeUrl) {
    await open?.store.close();
    open = { url: storeUrl, store: openOnlineStore(storeUrl, { name: 'skew-applier', connections: 4 }) };
  }
  await catchUp(open.store.store, standing.feeds, rows, random);
}

process.on('message', (message) => {
  const answer = (reply: ApplierReply): void => void process.send!(reply);
  work(message as ApplierWork).then(
    () => answer({ done: true }),
    (error: unknown) => answer({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
// its owner is gone
process.on('disconnect', () => process.exit(0));
