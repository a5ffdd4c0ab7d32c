import { relative } from 'node:path';
import { MODEL, type Story } from './story.ts';
import { interval, type Progress, whole } from './progress.ts';
import type { EmbeddedPlatform } from '../../../platform/embedded/embedded-platform.ts';

interface LiveQuality {
  readonly labelled: number;
  readonly auc: { readonly value: number; readonly low: number; readonly high: number } | null;
}

/** What happened, in one screen. */
export async function printSummary(story: Story, platform: EmbeddedPlatform, progress: Progress): Promise<void> {
  const { replay } = story;
  const rows = [['version', 'training', 'May: AUC [95 %]', 'June live: AUC [95 %]', 'labelled', 'answers', 'outcome']];
  for (const { number, version, training, offline, outcome } of story.versions) {
    const live =
      version === null
        ? null
        : await story.client.get<LiveQuality>('viewer', `/v1/models/${MODEL}/quality?version=${version}`);
    rows.push([
      `v${number}`,
      training,
      offline?.auc ? interval(offline.auc, 3) : 'not trained',
      live?.auc ? interval(live.auc, 3) : '–',
      live === null ? '–' : whole(live.labelled),
      version === null ? '0' : whole(replay?.versions.get(version)?.requests ?? 0),
      outcome === 'gated' ? 'stopped by a gate' : outcome === 'rolledBack' ? 'rolled back' : outcome,
    ]);
  }
  process.stdout.write(`\n${table(rows)}\n\n`);
  if (replay !== undefined) {
    process.stdout.write(
      `requests            ${whole(replay.requests)}, failures ${replay.failures}, answered by a fallback ${replay.fallbacks}\n`,
    );
    process.stdout.write(
      `latency             p50 ${replay.latency.quantile(0.5).toFixed(1)} ms, p99 ${replay.latency.quantile(0.99).toFixed(1)} ms, as the callers saw it (two cores for everything)\n`,
    );
  }
  if (story.harmMs !== null)
    process.stdout.write(
      `v4 harmful for      ${(story.harmMs / 1_000).toFixed(2)} s, from its first wrong answer to zero traffic\n`,
    );
  process.stdout.write(`time                ${(progress.seconds / 60).toFixed(1)} min\n\n`);
  for (const { version, link } of story.versions)
    process.stdout.write(
      `${version === null ? 'stopped run' : `rollout of v${version}`}${' '.repeat(version === null ? 9 : 7)}${link}\n`,
    );
  process.stdout.write(`all workflows       ${platform.temporalUiUrl}\n`);
  process.stdout.write(`API and its docs    ${platform.apiUrl}/docs\n`);
  process.stdout.write(`metrics             ${Object.values(platform.metricsUrls).join('  ')}\n`);
  process.stdout.write(
    `commands            npm run serin -- --home ${relative('', platform.home)} models show flight-delay\n`,
  );
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('   ')
      .trimEnd();
  return [line(rows[0]!), widths.map((width) => '─'.repeat(width)).join('───'), ...rows.slice(1).map(line)].join('\n');
}
