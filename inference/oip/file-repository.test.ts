import { expect, test, vi } from 'vitest';
import type { LoadedModel } from '../model/model-loader.ts';
import { FileRepository } from './file-repository.ts';
import type { Tensor } from './model.ts';

const MIB = 2 ** 20;
const shape = [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 1] }];
const row = (value: number): Tensor[] => [{ datatype: 'FP32', shape: [1, 1], data: Float32Array.of(value) }];

/** Models of so many MiB, which answer with their input; `held` ones wait with their runs. */
function aRepository(
  sizes: Readonly<Record<string, number>>,
  memoryMib: number | null,
  inThread: readonly string[] = [],
) {
  const loads: string[] = [];
  const released: string[] = [];
  const bad = new Map<string, string>();
  const held = new Map<string, Promise<void>>();
  const load = ({ name }: { name: string }): Promise<LoadedModel> => {
    loads.push(name);
    const reason = bad.get(name);
    if (reason !== undefined) return Promise.reject(new Error(reason));
    const signature = { inputs: shape, outputs: shape, batched: true };
    const runner = inThread.includes(name) ? ('thread' as const) : ('trees' as const);
    const measured = { runner, why: '', fileBytes: 0, loadMs: 0, goldenRows: 0 };
    return Promise.resolve({
      ...signature,
      report: { ...signature, ...measured, memoryBytes: sizes[name]! * MIB },
      run: async ([x]: readonly Tensor[]) => {
        await held.get(name);
        if (released.includes(name)) throw new Error(`${name} was released under a run`);
        return [x!];
      },
      release: async () => void released.push(name),
    });
  };
  const repository = new FileRepository(
    Object.keys(sizes).map((name) => ({ name, path: `${name}.onnx` })),
    { maxBatchRows: 8, maxQueueRows: 8 },
    { loader: { load }, memoryBytes: memoryMib === null ? null : memoryMib * MIB },
  );
  const ready = () => repository.models().map(({ name }) => name);
  return { repository, loads, released, bad, held, ready };
}

const untilReady = (repository: FileRepository, name: string) => vi.waitFor(() => repository.get(name, undefined));

test('without a memory budget all models are loaded', async () => {
  const { repository, ready } = aRepository({ a: 100, b: 100 }, null);
  await repository.loadAll();
  expect(ready()).toEqual(['a', 'b']);
});

test('at the start as many are loaded as fit; another one comes when it is asked for, and the least recently used goes', async () => {
  const { repository, loads, released, ready } = aRepository({ a: 10, b: 10, c: 10 }, 25);
  await repository.loadAll();
  expect(ready()).toEqual(['a', 'b']);
  expect(repository.index()[2]).toMatchObject({
    state: 'UNAVAILABLE',
    reason: 'the memory budget has no room for it; it is loaded when it is asked for',
  });
  loads.length = released.length = 0;
  repository.get('a', undefined);
  expect(() => repository.get('c', undefined)).toThrow("model 'c' is not ready: it is being loaded");
  expect(() => repository.get('c', undefined)).toThrow('it is being loaded');
  await untilReady(repository, 'c');
  await vi.waitFor(() => expect(released).toEqual(['b']));
  expect(loads).toEqual(['c']);
  expect(ready()).toEqual(['a', 'c']);
  expect(() => repository.get('b', undefined)).toThrow('it is being loaded');
  await untilReady(repository, 'b');
  await vi.waitFor(() => expect(released).toEqual(['b', 'a']));
});

test('work under way ends on a model that has to go', async () => {
  const { repository, released, held } = aRepository({ a: 10, b: 10 }, 15);
  await repository.loadAll();
  let open = (): void => undefined;
  held.set('a', new Promise((resolve) => (open = resolve)));
  released.length = 0;
  const model = repository.get('a', undefined);
  const answers = Promise.all([1, 2, 3].map((value) => model.infer(row(value), [0], Infinity, 1)));
  expect(() => repository.get('b', undefined)).toThrow('it is being loaded');
  await untilReady(repository, 'b');
  expect(released).toEqual([]);
  open();
  expect((await answers).map(([tensor]) => tensor!.data[0])).toEqual([1, 2, 3]);
  await vi.waitFor(() => expect(released).toEqual(['a']));
});

test('a model larger than the budget is refused with both sizes', async () => {
  const { repository } = aRepository({ a: 10, huge: 100 }, 50);
  await repository.loadAll();
  await expect(repository.load('huge')).rejects.toMatchObject({
    code: 'MEMORY_LIMIT',
    message: "model 'huge': it needs 100.0 MiB, more than the memory budget of 50.0",
  });
  expect(repository.get('a', undefined).name).toBe('a');
});

test('a model that does not load on demand says why and is left alone for a while', async () => {
  const { repository, loads, bad } = aRepository({ a: 10, b: 10 }, 15);
  await repository.loadAll();
  bad.set('b', 'the file is truncated');
  expect(() => repository.get('b', undefined)).toThrow('it is being loaded');
  await vi.waitFor(() => expect(() => repository.get('b', undefined)).toThrow('the file is truncated'));
  expect(() => repository.get('b', undefined)).toThrow('the file is truncated');
  expect(loads.filter((name) => name === 'b')).toHaveLength(2);
});

test('an unloaded model stays unloaded, whoever asks for it', async () => {
  const { repository, loads } = aRepository({ a: 10 }, 15);
  await repository.loadAll();
  await repository.unload('a');
  expect(() => repository.get('a', undefined)).toThrow("model 'a' is not ready: unloaded");
  expect(() => repository.get('a', undefined)).toThrow('unloaded');
  expect(loads).toEqual(['a']);
});

test('nobody waits for a model that runs in a thread but those who asked for it', async () => {
  const { repository, held } = aRepository({ slow: 1, quick: 1 }, null, ['slow']);
  await repository.loadAll();
  let open = (): void => undefined;
  held.set('slow', new Promise((resolve) => (open = resolve)));
  const ask = (name: string, value: number) => repository.get(name, undefined).infer(row(value), [0], Infinity, 1);
  const slow = ask('slow', 1);
  const [tensor] = await ask('quick', 2);
  expect(tensor!.data[0]).toBe(2);
  const unloaded = repository.unload('slow');
  open();
  expect((await slow)[0]!.data[0]).toBe(1);
  await unloaded;
});
