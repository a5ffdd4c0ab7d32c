import { readFile } from 'node:fs/promises';
import { SerinError } from '../domain/errors.ts';

type Members = Readonly<Record<string, unknown>>;

/** The objects of a file of JSON lines, or of one JSON list; `-` reads standard input. */
export async function readRows(file: string): Promise<Members[]> {
  const text = file === '-' ? await readStandardInput() : await readText(file);
  return parseRows(text, file === '-' ? 'standard input' : file);
}

/** @throws SerinError INPUT_INVALID naming the line */
export function parseRows(text: string, name: string): Members[] {
  if (text.trimStart().startsWith('[')) {
    const list = parseJson(text, name);
    if (Array.isArray(list)) return list.map((row, index) => asObject(row, `${name}, element ${index}`));
  }
  return text
    .split('\n')
    .map((line, index) => ({ line: line.trim(), place: `${name}, line ${index + 1}` }))
    .filter(({ line }) => line !== '')
    .map(({ line, place }) => asObject(parseJson(line, place), place));
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `${place} is no JSON: ${(error as Error).message}`, { cause: error });
  }
}

function asObject(value: unknown, place: string): Members {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members;
  throw new SerinError('INPUT_INVALID', `${place} is ${JSON.stringify(value).slice(0, 100)}, expected a JSON object`);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
