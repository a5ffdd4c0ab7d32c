/**
 * The datatypes of the Open Inference Protocol, each with its memory and its JSON. Tensors are row-major and, as bytes,
 * little-endian (specification/protocol/required_api.md and Triton's binary tensor data extension).
 */
import type { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import { refusal } from './describe.ts';

export const DATATYPES = [
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
] as const;
export type Datatype = (typeof DATATYPES)[number];

/** BOOL is 0 and 1 in bytes, FP16 its 16 bits, BYTES text. */
export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | string[];
type NumericData = Exclude<TensorData, string[]>;

interface Memory {
  readonly bytes: number;
  readonly of: (elements: number) => NumericData;
  readonly over: (buffer: ArrayBuffer) => NumericData;
}

function memory(type: {
  readonly BYTES_PER_ELEMENT: number;
  new (elements: number): NumericData;
  new (buffer: ArrayBuffer): NumericData;
}): Memory {
  return { bytes: type.BYTES_PER_ELEMENT, of: (n) => new type(n), over: (buffer) => new type(buffer) };
}

const MEMORY: Readonly<Record<Exclude<Datatype, 'BYTES'>, Memory>> = {
  BOOL: memory(Uint8Array),
  UINT8: memory(Uint8Array),
  UINT16: memory(Uint16Array),
  UINT32: memory(Uint32Array),
  UINT64: memory(BigUint64Array),
  INT8: memory(Int8Array),
  INT16: memory(Int16Array),
  INT32: memory(Int32Array),
  INT64: memory(BigInt64Array),
  FP16: memory(Uint16Array),
  FP32: memory(Float32Array),
  FP64: memory(Float64Array),
};

/** Inclusive bounds of the whole-number types. */
const BOUNDS: Partial<Record<Datatype, readonly [bigint, bigint]>> = {
  UINT8: [0n, 2n ** 8n - 1n],
  UINT16: [0n, 2n ** 16n - 1n],
  UINT32: [0n, 2n ** 32n - 1n],
  UINT64: [0n, 2n ** 64n - 1n],
  INT8: [-(2n ** 7n), 2n ** 7n - 1n],
  INT16: [-(2n ** 15n), 2n ** 15n - 1n],
  INT32: [-(2n ** 31n), 2n ** 31n - 1n],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
};

export function isDatatype(value: unknown): value is Datatype {
  return (DATATYPES as readonly unknown[]).includes(value);
}

/** Empty memory for a tensor, to be filled. */
export function allocate(datatype: Datatype, elements: number): TensorData {
  return datatype === 'BYTES' ? new Array<string>(elements) : MEMORY[datatype].of(elements);
}

/** Copies `from` into `into` at an element. Both are of one datatype. */
export function copyInto(into: TensorData, from: TensorData, at: number): void {
  if (Array.isArray(into)) for (let i = 0; i < from.length; i++) into[at + i] = (from as string[])[i]!;
  else (into as Float64Array).set(from as Float64Array, at);
}

export function sliceOf(data: TensorData, from: number, to: number): TensorData {
  return Array.isArray(data) ? data.slice(from, to) : (data as Float64Array).subarray(from, to);
}

export interface JsonReading {
  /** How messages call the tensor. */
  readonly name: string;
  readonly datatype: Datatype;
  readonly elements: number;
  readonly shape: readonly number[];
  /** A null of a floating-point tensor is NaN instead of a refusal. */
  readonly nullIsNaN: boolean;
}

/**
 * `data` of a request: flat, or nested as the shape says.
 * @throws SerinError INPUT_INVALID naming the element and the rule
 */
export function readJsonData(data: unknown, reading: JsonReading): TensorData {
  if (!Array.isArray(data)) throw refusal(`input '${reading.name}' must have "data", a list`);
  const put = WRITERS[reading.datatype];
  // memory is taken for what is there, not for what a few bytes of shape say
  if (reading.shape.length > 1 && Array.isArray(data[0])) {
    checkNested(data, 0, reading);
    const into = allocate(reading.datatype, reading.elements);
    fillNested(data, 0, 0, reading, into, put);
    return into;
  }
  if (data.length !== reading.elements) throw wrongCount(reading, data.length);
  const into = allocate(reading.datatype, reading.elements);
  for (let i = 0; i < data.length; i++) put(into, i, data[i], reading);
  return into;
}

function checkNested(data: readonly unknown[], depth: number, reading: JsonReading): void {
  const { name, shape } = reading;
  if (data.length !== shape[depth]) {
    throw refusal(
      `input '${name}' has a list of ${data.length} in dimension ${depth}, its shape [${shape.join(',')}] says ${shape[depth]}`,
    );
  }
  if (depth === shape.length - 1) return;
  for (const part of data) {
    if (!Array.isArray(part)) throw refusal(`input '${name}' mixes lists and values in dimension ${depth + 1}`);
    checkNested(part, depth + 1, reading);
  }
}

function fillNested(
  data: readonly unknown[],
  depth: number,
  at: number,
  reading: JsonReading,
  into: TensorData,
  put: Writer,
): number {
  if (depth === reading.shape.length - 1) {
    for (let i = 0; i < data.length; i++) put(into, at + i, data[i], reading);
    return at + data.length;
  }
  for (const part of data) at = fillNested(part as readonly unknown[], depth + 1, at, reading, into, put);
  return at;
}

type Writer = (into: TensorData, at: number, value: unknown, reading: JsonReading) => void;

const WRITERS: Readonly<Record<Datatype, Writer>> = {
  BOOL(into, at, value, reading) {
    if (typeof value !== 'boolean' && value !== 0 && value !== 1) throw wrongValue(reading, at, value, 'true or false');
    (into as Uint8Array)[at] = value === true || value === 1 ? 1 : 0;
  },
  UINT8: writeInteger,
  UINT16: writeInteger,
  UINT32: writeInteger,
  UINT64: writeInteger,
  INT8: writeInteger,
  INT16: writeInteger,
  INT32: writeInteger,
  INT64: writeInteger,
  FP16(into, at, value, reading) {
    const half = ((into as Uint16Array)[at] = halfOf(floatOf(value, at, reading)));
    if ((half & 0x7fff) === HALF_INFINITY) throw beyondRange(reading, at, value);
  },
  FP32: writeFloat,
  FP64: writeFloat,
  BYTES(into, at, value, reading) {
    if (typeof value !== 'string') throw wrongValue(reading, at, value, 'a string');
    checkText(value, at, reading.name);
    (into as string[])[at] = value;
  },
};

function writeFloat(into: TensorData, at: number, value: unknown, reading: JsonReading): void {
  const numbers = into as Float64Array;
  numbers[at] = typeof value === 'number' ? value : floatOf(value, at, reading);
  if (numbers[at] === Infinity || numbers[at] === -Infinity) throw beyondRange(reading, at, value);
}

function floatOf(value: unknown, at: number, reading: JsonReading): number {
  if (typeof value === 'number') return value;
  if (value === null && reading.nullIsNaN) return NaN;
  throw wrongValue(reading, at, value, 'a number');
}

/** 64-bit numbers beyond 2^53 come as decimal text, since JSON numbers do not hold them. */
function writeInteger(into: TensorData, at: number, value: unknown, reading: JsonReading): void {
  const { datatype } = reading;
  const wide = datatype === 'INT64' || datatype === 'UINT64';
  if (
    typeof value === 'number'
      ? !Number.isInteger(value)
      : !(wide && typeof value === 'string' && /^-?\d{1,20}$/.test(value))
  ) {
    throw wrongValue(reading, at, value, wide ? 'an integer (as text beyond 2^53)' : 'an integer');
  }
  if (typeof value === 'number' && wide && !Number.isSafeInteger(value)) {
    throw wrongValue(reading, at, value, 'an integer; beyond 2^53 send it as text or as binary data');
  }
  const whole = BigInt(value as number | string);
  const [min, max] = BOUNDS[datatype]!;
  if (whole < min || whole > max) throw wrongValue(reading, at, value, `within ${min} and ${max}`);
  if (wide) (into as BigInt64Array)[at] = whole;
  else (into as Int32Array)[at] = Number(whole);
}

function wrongValue({ name, datatype }: JsonReading, at: number, value: unknown, rule: string): SerinError {
  return refusal(`input '${name}' (${datatype}) holds ${shownValue(value, 80)} at ${at}, expected ${rule}`);
}

/** JSON has no infinities: what becomes one (1e400, or 1e39 as FP32) was meant as something else. */
function beyondRange(reading: JsonReading, at: number, value: unknown): SerinError {
  return wrongValue(reading, at, value, `a number that ${reading.datatype} holds; infinities are sent as binary data`);
}

/**
 * Text must come out of the model as it went in: a surrogate without its partner has no UTF-8, and ONNX Runtime takes
 * text from JavaScript up to its first NUL.
 */
function checkText(text: string, at: number, name: string): void {
  if (/\p{Surrogate}/u.test(text)) throw refusal(`input '${name}' (BYTES) is no well-formed Unicode at ${at}`);
  if (text.includes('\0'))
    throw refusal(`input '${name}' (BYTES) holds a NUL at ${at}, where the text would end for ONNX Runtime`);
}

export function wrongCount(
  { name, elements, shape }: Pick<JsonReading, 'name' | 'elements' | 'shape'>,
  given: number,
): SerinError {
  return refusal(`input '${name}' got ${given} values, expected ${elements} for shape [${shape.join(',')}]`);
}

/** The elements as JSON, without brackets. What JSON cannot hold is null (NaN, infinities) or text (integers beyond 2^53). */
export function writeJsonData(datatype: Datatype, data: TensorData): string {
  switch (datatype) {
    case 'BOOL':
      return Array.from(data as Uint8Array, (value) => (value === 0 ? 'false' : 'true')).join(',');
    case 'BYTES':
      return (data as string[]).map((value) => JSON.stringify(value)).join(',');
    case 'INT64':
    case 'UINT64':
      return Array.from(data as BigInt64Array, (value) =>
        value >= -MAX_SAFE && value <= MAX_SAFE ? String(value) : `"${value}"`,
      ).join(',');
    case 'FP16':
      return Array.from(data as Uint16Array, (value) => jsonNumber(numberOfHalf(value))).join(',');
    case 'FP32':
    case 'FP64': {
      let text = '';
      for (let i = 0; i < data.length; i++) text += (i === 0 ? '' : ',') + jsonNumber((data as Float64Array)[i]!);
      return text;
    }
    default:
      return (data as Int32Array).join(',');
  }
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

function jsonNumber(value: number): string {
  if (value === 0) return 1 / value < 0 ? '-0.0' : '0';
  return Number.isFinite(value) ? String(value) : 'null';
}

/** @throws SerinError INPUT_INVALID when the bytes are not those of `elements` elements */
export function readBinaryData(bytes: Buffer, datatype: Datatype, elements: number, name: string): TensorData {
  if (datatype === 'BYTES') return readTexts(bytes, elements, name);
  const { bytes: width, over } = MEMORY[datatype];
  if (bytes.length !== elements * width) {
    throw refusal(
      `input '${name}' has ${bytes.length} bytes of binary data, expected ${elements * width} (${elements} × ${datatype})`,
    );
  }
  // a copy: typed arrays need aligned memory, and the request's buffer goes back to its pool
  const data = over(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
  if (datatype === 'BOOL') for (let i = 0; i < data.length; i++) data[i] = data[i] === 0 ? 0 : 1;
  return data;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readTexts(bytes: Buffer, elements: number, name: string): string[] {
  const texts: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : -1;
    if (length < 0 || at + 4 + length > bytes.length)
      throw refusal(`input '${name}' (BYTES) ends within element ${texts.length}`);
    texts.push(textOf(bytes.subarray(at + 4, at + 4 + length), name, texts.length));
    at += 4 + length;
  }
  if (texts.length !== elements)
    throw refusal(`input '${name}' (BYTES) has ${texts.length} elements, expected ${elements}`);
  return texts;
}

/** One element of a BYTES tensor. @throws SerinError INPUT_INVALID for what an ONNX string does not hold */
export function textOf(bytes: Uint8Array, name: string, at: number): string {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw refusal(`input '${name}' (BYTES) is no UTF-8 at ${at}, which is all that an ONNX string holds`);
  }
  checkText(text, at, name);
  return text;
}

export function writeBinaryData(datatype: Datatype, data: TensorData): Buffer {
  if (datatype !== 'BYTES') {
    const numbers = data as NumericData;
    return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  }
  const parts = (data as string[]).flatMap((text) => {
    const bytes = Buffer.from(text, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat(parts);
}

/** Bytes of an element; 0 where it depends on the value. */
export function bytesPerElement(datatype: Datatype): number {
  return datatype === 'BYTES' ? 0 : MEMORY[datatype].bytes;
}

const HALF_INFINITY = 0x7c00;
const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

/** IEEE 754 binary16 of a number, rounded to nearest even. */
export function halfOf(value: number): number {
  FLOAT[0] = value;
  const bits = BITS[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  // a multiple of 2^-24: the smallest subnormal
  const steps = Math.abs(FLOAT[0]!) * 2 ** 24;
  const whole = Math.floor(steps);
  const rest = steps - whole;
  return sign | (rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole);
}

export function numberOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
