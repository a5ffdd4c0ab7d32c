/**
 * `npm run bench -- batch-scoring [--rows N] [--rounds N]`: CPU per row from Parquet to Parquet with ready features, beside the
 * predictors of LightGBM and ONNX Runtime, which get the same rows in memory and write nothing. All scores are compared.
 * Prints a table and writes bench/results/batch-scoring.json.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, homedir, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { compiledModule } from '../../domain/compiled-module.ts';
import { doubleSql, DuckDb } from '../../features/offline/duckdb.ts';
import { FEATURES } from './version.ts';

const run = promisify(execFile);
const RESULT = fileURLToPath(new URL('../../../bench/results/batch-scoring.json', import.meta.url));
const RIVALS = fileURLToPath(new URL('../../../bench/batch-scoring/rivals.py', import.meta.url));
/** Made by `npm run bench -- serving`. */
const PYTHON = join(homedir(), '.cache', 'serin', 'bench-serving', 'venv', 'bin', 'python');
const PART_ROWS = 1_000_000;
/** Largest difference to ONNX Runtime, which adds the same float32 numbers. */
const TOLERANCE = 1e-5;

interface Cost {
  readonly name: string;
  readonly cpuSeconds: number;
  readonly seconds: number;
  readonly residentMiB?: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rows: { type: 'string', default: '3000000' }, rounds: { type: 'string', default: '3' } },
  });
  const [rows, rounds] = [Number(values.rows), Number(values.rounds)];
  await access(PYTHON).catch(() => {
    throw new Error(`${PYTHON} is not there: "npm run bench -- serving" makes it`);
  });
  const folder = await mkdtemp(join(tmpdir(), 'serin-bench-scoring-'));
  try {
    console.log(`making the model and ${rows} rows`);
    await run(PYTHON, [RIVALS, 'model', folder]);
    await makeRows(folder, rows);
    const costs: Cost[] = [];
    for (let round = 0; round < rounds; round++) {
      const own = await run(process.execPath, [
        fileURLToPath(compiledModule(import.meta.url, './score-process.ts')),
        folder,
        String(rows),
        String(PART_ROWS),
      ]);
      const others = await run(PYTHON, [RIVALS, 'predict', folder, String(rows)]);
      for (const line of `${own.stdout}${others.stdout}`.trim().split('\n')) {
        const cost = JSON.parse(line) as Cost;
        costs.push(cost);
        console.log(
          `${cost.name}: ${((cost.cpuSeconds / rows) * 1e6).toFixed(2)} µs CPU a row, ${cost.seconds.toFixed(1)} s`,
        );
      }
    }
    const parity = await compare(folder, rows);
    const best = (name: string): number =>
      Math.min(...costs.filter((cost) => cost.name === name).map(({ cpuSeconds }) => (cpuSeconds / rows) * 1e6));
    const summary = Object.fromEntries(['serin', 'lightgbm', 'onnxruntime'].map((name) => [name, best(name)]));
    console.table(
      Object.entries(summary).map(([name, micros]) => ({
        name,
        'µs CPU a row, best of the rounds': micros.toFixed(2),
      })),
    );
    console.log(
      `largest difference over ${rows} rows: ONNX Runtime ${parity.onnxruntime}; LightGBM ${parity.lightgbm}, beyond ${TOLERANCE} in ${parity.lightgbmRowsApart} rows`,
    );
    const machine = { cpus: cpus().length, model: cpus()[0]?.model, loadavg: loadavg() };
    await writeFile(
      RESULT,
      `${JSON.stringify({ at: new Date().toISOString(), machine, rows, summary, parity, costs }, null, 2)}\n`,
    );
    if (!(parity.onnxruntime <= TOLERANCE && parity.lightgbmRowsApart <= rows / 1_000)) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `rows.parquet` for Serin, and the same numbers as one block of float32 for the others. */
async function makeRows(folder: string, rows: number): Promise<void> {
  const duckdb = await DuckDb.open({ memory: '2GB', threads: 1, tempDir: join(folder, 'duckdb') });
  try {
    await duckdb.run('SET preserve_insertion_order = true');
    await duckdb.run('SELECT setseed(0.25)');
    // two uniform numbers make a normal one; some are missing
    const normal = 'CAST(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS FLOAT)';
    const columns = FEATURES.map((name) => `CASE WHEN random() < 0.02 THEN NULL ELSE ${normal} END AS ${name}`);
    const path = join(folder, 'rows.parquet');
    await duckdb.run(`
      COPY (SELECT range AS id, 990000000000000 + range * 1000000 AS as_of, ${columns.join(', ')} FROM range(${rows}))
      TO '${path}' (FORMAT parquet, COMPRESSION snappy)`);
    const out = createWriteStream(join(folder, 'features.f32'));
    for await (const chunk of duckdb.doubles(
      `SELECT ${FEATURES.map(doubleSql).join(', ')} FROM read_parquet('${path}')`,
    )) {
      const block = new Float32Array(chunk.rows * FEATURES.length);
      chunk.columns.forEach((column, c) => {
        for (let i = 0; i < chunk.rows; i++) block[i * FEATURES.length + c] = column[i]!;
      });
      if (!out.write(Buffer.from(block.buffer))) await once(out, 'drain');
    }
    out.end();
    await once(out, 'finish');
  } finally {
    duckdb.close();
  }
}

interface Parity {
  readonly rows: number;
  readonly onnxruntime: number;
  readonly lightgbm: number;
  /** Rows with a value on a threshold that float32 cannot hold: ONNX has rounded it, LightGBM's own file has not. */
  readonly lightgbmRowsApart: number;
}

/** Largest differences over all rows. */
async function compare(folder: string, rows: number): Promise<Parity> {
  const read = async (name: string): Promise<Float64Array> => {
    const bytes = await readFile(join(folder, `${name}.f64`));
    return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  };
  const [lightgbm, onnxruntime] = [await read('lightgbm'), await read('onnxruntime')];
  const worst = { rows: 0, onnxruntime: 0, lightgbm: 0, lightgbmRowsApart: 0 };
  const duckdb = await DuckDb.open({ memory: '1GB', threads: 1, tempDir: join(folder, 'duckdb') });
  try {
    const scores = `SELECT ${doubleSql('score')}, ${doubleSql('id')} FROM read_parquet('${join(folder, 'scores', 'part-*.parquet')}')`;
    for await (const chunk of duckdb.doubles(scores)) {
      for (let i = 0; i < chunk.rows; i++) {
        const [score, row] = [chunk.columns[0]![i]!, chunk.columns[1]![i]!];
        // what is not a number would be no difference
        const apart = (others: Float64Array): number =>
          Number.isNaN(score) ? Infinity : Math.abs(score - others[row]!);
        worst.onnxruntime = Math.max(worst.onnxruntime, apart(onnxruntime));
        worst.lightgbm = Math.max(worst.lightgbm, apart(lightgbm));
        if (apart(lightgbm) > TOLERANCE) worst.lightgbmRowsApart++;
      }
      worst.rows += chunk.rows;
    }
  } finally {
    duckdb.close();
  }
  if (worst.rows !== rows) throw new Error(`${worst.rows} rows were scored instead of ${rows}`);
  return worst;
}

await main();
