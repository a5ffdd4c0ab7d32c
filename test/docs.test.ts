import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { register as registerAdministration } from '../cli/commands/administration.ts';
import { register as registerConsistency } from '../cli/commands/consistency.ts';
import { register as registerData } from '../cli/commands/data.ts';
import { register as registerForget } from '../cli/commands/forget.ts';
import { register as registerFeatures } from '../cli/commands/features.ts';
import { register as registerModels } from '../cli/commands/models.ts';
import { register as registerPlatform } from '../cli/commands/platform.ts';
import { register as registerPredict } from '../cli/commands/predict.ts';
import { register as registerPredictions } from '../cli/commands/predictions.ts';
import { register as registerRollout } from '../cli/commands/rollout.ts';
import { register as registerScoring } from '../cli/commands/scoring.ts';
import { register as registerServe } from '../cli/commands/serve.ts';
import { register as registerSources } from '../cli/commands/sources.ts';
import { register as registerTraining } from '../cli/commands/training.ts';
import flights from '../examples/flights/project.ts';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

function pagesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

const PAGES = ['README.md', ...pagesUnder('docs')];

function textOf(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

interface Fence {
  /** What follows the three backticks, such as `ts check=examples/flights/project.ts`. */
  readonly info: string;
  readonly text: string;
}

function fencesOf(page: string): Fence[] {
  return [...textOf(page).matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, info = '', text = '']) => ({ info, text }));
}

function withoutFences(page: string): string {
  return textOf(page).replaceAll(/^```.*\n[\s\S]*?^```$/gm, '');
}

/** The anchor that GitHub gives a heading. */
function anchorsOf(page: string): string[] {
  return [...withoutFences(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

describe.each(PAGES)('%s', (page) => {
  test('links to what is there', () => {
    const links = [...withoutFences(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    const broken = links.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? join(ROOT, page) : resolve(ROOT, dirname(page), path);
      if (!existsSync(file)) return true;
      return anchor !== undefined && file.endsWith('.md') && !anchorsOf(relative(ROOT, file)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  test('names files that are there', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const isOurs = (path: string): boolean =>
      folders.some(({ name }) => path.startsWith(`${name}/`)) && !/^(?:node_modules|dist|\.serin)\//.test(path);
    const named = [...withoutFences(page).matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => name);
    expect(named.filter((name) => isOurs(name) && !existsSync(join(ROOT, name)))).toEqual([]);
  });

  test('shows source as it stands', () => {
    const changed = fencesOf(page).filter(({ info, text }) => {
      const source = /check=(\S+)/.exec(info)?.[1];
      return source !== undefined && !textOf(source).includes(text);
    });
    expect(changed).toEqual([]);
  });

  test('gives commands and options that exist', () => {
    expect(commandLinesOf(page).flatMap(whatIsUnknown)).toEqual([]);
  });
});

test('the guide to a project shows its source, so that it cannot grow old unseen', () => {
  const shown = fencesOf('docs/guides/write-a-project.md').filter(({ info }) => info.includes('check='));
  expect(shown.length).toBeGreaterThan(10);
});

test('a runbook that an alert names is there', () => {
  const runbooks = flights.models.flatMap(({ monitors }) => monitors.map(({ runbook }) => runbook));
  expect(runbooks.length).toBeGreaterThan(0);
  expect(runbooks.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('a command or an option that does not exist is found out', () => {
  expect(whatIsUnknown('serin rollout begin flight-delay')).toEqual(['serin rollout begin flight-delay: begin']);
  expect(whatIsUnknown('serin rollout start flight-delay v2 --quick')).toEqual([
    'serin rollout start flight-delay v2 --quick: --quick',
  ]);
  expect(whatIsUnknown('serin --json rollout start flight-delay v2 --watch')).toEqual([]);
});

/** Lines that call `serin`, in shell fences and between backticks. */
function commandLinesOf(page: string): string[] {
  const fenced = fencesOf(page)
    .filter(({ info }) => info === 'sh')
    .flatMap(({ text }) => text.replaceAll('\\\n', ' ').split('\n'));
  const inline = [...withoutFences(page).matchAll(/`(serin [^`]+)`/g)].map(([, line = '']) =>
    line.replaceAll('\n', ' '),
  );
  return [...fenced, ...inline].flatMap(
    (line) => /^\s*(?:npm run )?(?:[A-Z_]+=\S+ )*(serin .*)$/.exec(line.replace('serin -- ', 'serin '))?.[1] ?? [],
  );
}

/** The words of a command line that its program does not know. */
function whatIsUnknown(line: string): string[] {
  const words = line
    .replaceAll(/"[^"]*"/g, 'TEXT')
    .split(/\s+/)
    .slice(1);
  let command = program();
  const unknown: string[] = [];
  let isValue = false;
  for (const word of words) {
    if (isValue) {
      isValue = false;
      continue;
    }
    if (word.startsWith('--')) {
      const option = [command, command.parent, command.parent?.parent]
        .flatMap((each) => each?.options ?? [])
        .find(({ long }) => long === word);
      if (option === undefined && word !== '--help') unknown.push(`${line}: ${word}`);
      isValue = option?.required === true;
      continue;
    }
    const next = command.commands.find((each) => each.name() === word);
    if (next !== undefined) command = next;
    else if (command.registeredArguments.length === 0 && command.commands.length > 0 && /^[a-z]/.test(word))
      return [...unknown, `${line}: ${word}`];
  }
  return unknown;
}

function program(): Command {
  const serin = new Command('serin')
    .option('--json')
    .option('--as <principal>')
    .option('--api <url>')
    .option('--home <folder>');
  const context = { action: () => async () => undefined };
  for (const register of [
    registerPlatform,
    registerData,
    registerFeatures,
    registerForget,
    registerScoring,
    registerServe,
    registerSources,
    registerTraining,
    registerModels,
    registerPredict,
    registerPredictions,
    registerConsistency,
    registerRollout,
    registerAdministration,
  ]) {
    register(serin, context);
  }
  return serin;
}
