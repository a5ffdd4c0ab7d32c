/**
 * A WebAssembly function, assembled here byte by byte, that takes 16 rows at once through an ensemble of trees. It has no
 * branch that depends on a row: each inner node clears, for the rows that go past it to the right, the leaves on its left,
 * and the first leaf that is left over is the one a row ends in (Lucchese et al., "QuickScorer", SIGIR 2015; with rows side
 * by side in a register as Ye et al., "RapidScorer", KDD 2018).
 */

/** Rows of a block: the bytes of a 128-bit register. */
export const BLOCK_ROWS = 16;
/** Leaves of a plane: the bits of a byte. */
export const PLANE_LEAVES = 8;
const PAGE_BYTES = 65_536;

export interface TreeBlockKernel {
  readonly memory: Uint8Array<ArrayBuffer>;
  /**
   * Adds the leaves of the block's rows to their sums, tree after tree, in float32. All arguments are positions in `memory`.
   * @param bins a register for each column: a byte per row
   * @param program of each tree (all numbers 32-bit, little-endian): its planes; for each plane the bytes of its steps; and
   *   for each step of 4 bytes the position of its column after `bins` (16 bits), a rank, and the leaves (bits) that a row
   *   loses whose byte is above the rank. A plane has at least one step.
   * @param end of the program
   * @param leaves `PLANE_LEAVES` float32 for each plane
   * @param sums a float32 for each row
   */
  readonly add: (bins: number, program: number, end: number, leaves: number, sums: number) => void;
}

/** What is used of the engine; Node's types have no constructors of it. */
interface Engine {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: { readonly add: TreeBlockKernel['add'] } };
}
const { WebAssembly: engine } = globalThis as unknown as { readonly WebAssembly: Engine };

/** @param bytes of memory */
export function createTreeBlockKernel(bytes: number): TreeBlockKernel {
  const memory = new engine.Memory({ initial: Math.ceil(bytes / PAGE_BYTES) });
  const { add } = new engine.Instance(compiled(), { serin: { memory } }).exports;
  return { memory: new Uint8Array(memory.buffer), add };
}

let module: object | undefined;
function compiled(): object {
  return (module ??= new engine.Module(Uint8Array.from(assemble())));
}

// ---- instructions (https://webassembly.github.io/spec/core/binary/instructions.html) ---------------------------------------

type Code = readonly number[];
const I32 = 0x7f;
const V128 = 0x7b;
const NOTHING = 0x40;

const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
const simd = (opcode: number, ...immediates: number[]): Code => [0xfd, ...unsigned(opcode), ...immediates];

const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
const tee = (local: number): Code => [0x22, local];
/** Up to 63, which signed LEB128 has in one byte. */
const constant = (value: number): Code => [0x41, value];
const load32 = (offset = 0): Code => [0x28, 2, ...unsigned(offset)];
const load16 = (offset = 0): Code => [0x2f, 1, ...unsigned(offset)];
const loadFloat = (offset = 0): Code => [0x2a, 2, ...unsigned(offset)];
const storeFloat = (offset = 0): Code => [0x38, 2, ...unsigned(offset)];
const ADD: Code = [0x6a];
const SUBTRACT: Code = [0x6b];
const SHIFT_LEFT: Code = [0x74];
const LESS: Code = [0x49];
const ADD_FLOAT: Code = [0x92];
/** Runs `body` again as long as it leaves something other than 0. */
const repeat = (...body: Code[]): Code => [0x03, NOTHING, ...body.flat(), 0x0d, 0, 0x0b];
const advance = (local: number, by: Code): Code => [...get(local), ...by, ...ADD, ...set(local)];

const LOAD_REGISTER = simd(0x00, 0, 0);
const loadSplat = (offset: number): Code => simd(0x07, 0, offset);
const filled = (byte: number): Code => simd(0x0c, ...Array.from({ length: BLOCK_ROWS }, () => byte));
const SPLAT = simd(0x0f);
const lane = (row: number): Code => simd(0x16, row);
const DIFFERS = simd(0x24);
const ABOVE = simd(0x28);
const AND = simd(0x4e);
/** a and not b */
const AND_NOT = simd(0x4f);
/** a where the mask has ones, else b */
const SELECT = simd(0x52);
const COUNT_BITS = simd(0x62);
const ADD_BYTES = simd(0x6e);
const SUBTRACT_BYTES = simd(0x71);

// ---- the function ----------------------------------------------------------------------------------------------------------

const [BINS, PROGRAM, END, LEAVES, SUMS] = [0, 1, 2, 3, 4];
const [PLANE_END, PLANES, FIRST_LEAF] = [5, 6, 7];
/** By row: leaves of the plane that are left over; the leaf it ends in; whether that is not known yet; whether it is in this plane. */
const [LEFT, LEAF, OPEN, FOUND] = [8, 9, 10, 11];
const STEP_BYTES = 4;

const step: Code = [
  get(LEFT),
  [...get(BINS), ...get(PROGRAM), ...load16(), ...ADD, ...LOAD_REGISTER],
  [...get(PROGRAM), ...loadSplat(2), ...ABOVE],
  [...get(PROGRAM), ...loadSplat(3), ...AND],
  [...AND_NOT, ...set(LEFT)],
  [...get(PROGRAM), ...constant(STEP_BYTES), ...ADD, ...tee(PROGRAM), ...get(PLANE_END), ...LESS],
].flat();

const plane: Code = [
  [...filled(0xff), ...set(LEFT)],
  // the plane's length, and past it
  [...get(PROGRAM), ...load32(), ...advance(PROGRAM, constant(4)), ...get(PROGRAM), ...ADD, ...set(PLANE_END)],
  repeat(step),
  [...get(LEFT), ...filled(0), ...DIFFERS, ...get(OPEN), ...AND, ...set(FOUND)],
  // the first leaf that is left over: as many as there are zeros below its bit
  [...get(LEFT), ...filled(1), ...SUBTRACT_BYTES, ...get(LEFT), ...AND_NOT, ...COUNT_BITS],
  [...get(FIRST_LEAF), ...SPLAT, ...ADD_BYTES, ...get(LEAF), ...get(FOUND), ...SELECT, ...set(LEAF)],
  [...get(OPEN), ...get(FOUND), ...AND_NOT, ...set(OPEN)],
  advance(FIRST_LEAF, constant(PLANE_LEAVES)),
  [...get(PLANES), ...constant(1), ...SUBTRACT, ...tee(PLANES)],
].flat();

const addLeaf = (row: number): Code =>
  [
    get(SUMS),
    [...get(SUMS), ...loadFloat(row * 4)],
    [...get(LEAVES), ...get(LEAF), ...lane(row), ...constant(2), ...SHIFT_LEFT, ...ADD, ...loadFloat()],
    ADD_FLOAT,
    storeFloat(row * 4),
  ].flat();

const tree: Code = [
  [...get(PROGRAM), ...load32(), ...set(PLANES), ...advance(PROGRAM, constant(4))],
  [...constant(0), ...set(FIRST_LEAF), ...filled(0), ...set(LEAF), ...filled(0xff), ...set(OPEN)],
  repeat(plane),
  Array.from({ length: BLOCK_ROWS }, (_, row) => addLeaf(row)).flat(),
  advance(LEAVES, [...get(FIRST_LEAF), ...constant(2), ...SHIFT_LEFT]),
  [...get(PROGRAM), ...get(END), ...LESS],
].flat();

function assemble(): Code {
  const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content];
  const text = (value: string): Code => [value.length, ...Buffer.from(value)];
  const locals: Code = [2, 3, I32, 4, V128];
  const body = [...locals, ...repeat(tree), 0x0b];
  return [
    [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, [1, 0x60, 5, I32, I32, I32, I32, I32, 0]),
    section(2, [1, ...text('serin'), ...text('memory'), 2, 0, 1]),
    section(3, [1, 0]),
    section(7, [1, ...text('add'), 0, 0]),
    section(10, [1, ...unsigned(body.length), ...body]),
  ].flat();
}
