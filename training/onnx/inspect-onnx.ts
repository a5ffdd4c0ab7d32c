import { messageOf, SerinError } from '../../domain/errors.ts';
import {
  decodeModel,
  type Dimension,
  ELEMENT_TYPES,
  EXTERNAL_DATA,
  type Graph,
  type OnnxModel,
  type ValueInfo,
} from './onnx-messages.ts';
import { METADATA, PRODUCER } from './serin-metadata.ts';

export interface OnnxValue {
  readonly name: string;
  /** `float32`, `int64`, … */
  readonly type: string;
  /** A size, the name of an open dimension, or null when unknown. */
  readonly shape: readonly (number | string | null)[];
}

export interface OnnxSummary {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** Version per operator domain; the default domain is `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly producer: string;
}

/**
 * Reads what an ONNX file takes and gives, and refuses one that cannot be served: truncated, of another format, or with a
 * graph that does not hang together. Whether the runtime knows its operators shows only when it loads it.
 * @throws SerinError MODEL_FILE_INVALID naming what is wrong
 */
export function inspectOnnx(bytes: Uint8Array): OnnxSummary {
  const model = parse(bytes);
  if (!(model.ir_version > 0)) refuse('it names no ONNX version, so it is of another format or truncated');
  if (model.graph === null) refuse('it has no graph; it is truncated');
  if (model.opset_import.length === 0) refuse('it names no operator sets; it is truncated');
  const opsets = Object.fromEntries(model.opset_import.map(({ domain, version }) => [domainName(domain), version]));
  checkGraph(model.graph, opsets);
  const metadata = Object.fromEntries(model.metadata_props.map(({ key, value }) => [key, value]));
  if (model.producer_name === PRODUCER)
    for (const key of Object.values(METADATA))
      if (!Object.hasOwn(metadata, key)) refuse(`it is by Serin but lacks the metadata ${key}; it is truncated`);
  const constants = new Set(model.graph.initializer.map(({ name }) => name));
  return {
    inputs: model.graph.input.filter(({ name }) => !constants.has(name)).map(describeValue),
    outputs: model.graph.output.map(describeValue),
    opsets,
    metadata,
    producer: model.producer_name,
  };
}

type ParsedModel = Omit<OnnxModel, 'graph'> & { readonly graph: Graph | null };

function parse(bytes: Uint8Array): ParsedModel {
  if (bytes.length === 0) refuse('it is empty');
  for (const { format, magic } of FOREIGN_FORMATS) if (startsWith(bytes, magic)) refuse(`it is ${format}, not ONNX`);
  try {
    return decodeModel(bytes) as ParsedModel;
  } catch (cause) {
    const reason = messageOf(cause);
    return refuse(
      `its ${bytes.length} bytes are not an ONNX model; it is truncated or of another format (${reason})`,
      cause,
    );
  }
}

function checkGraph(graph: Graph, opsets: Readonly<Record<string, number>>): void {
  if (graph.node.length === 0) refuse('its graph has no operators; it is truncated');
  if (graph.output.length === 0) refuse('its graph has no outputs; it is truncated');
  const tensors = [
    ...graph.initializer,
    ...(graph.sparse_initializer ?? []).flatMap(({ values }) => (values ? [values] : [])),
  ];
  for (const { name, data_location } of tensors)
    if (data_location === EXTERNAL_DATA) refuse(`its tensor ${name} lies in another file; a model must be one file`);

  const known = new Set(['', ...tensors.map(({ name }) => name), ...graph.input.map(({ name }) => name)]);
  if (graph.input.every(({ name }) => graph.initializer.some((tensor) => tensor.name === name)))
    refuse('its graph has no inputs');
  for (const { op_type, domain, input, output } of graph.node) {
    if (op_type === '') refuse('an operator of its graph has no type');
    if (!Object.hasOwn(opsets, domainName(domain ?? '')))
      refuse(`its operator ${op_type} is of the set ${domainName(domain ?? '')}, which it does not import`);
    for (const name of input)
      if (!known.has(name)) refuse(`its operator ${op_type} reads ${name}, which nothing before it produces`);
    for (const name of output) known.add(name);
  }
  for (const { name } of graph.output) if (!known.has(name)) refuse(`its output ${name} is produced by nothing`);
}

function describeValue({ name, type }: ValueInfo): OnnxValue {
  const tensor = type?.tensor_type;
  if (!tensor)
    return refuse(`its input or output ${name} is not a tensor (a ZipMap of scikit-learn? export with zipmap off)`);
  const elementType = ELEMENT_TYPES.get(tensor.elem_type);
  if (elementType === undefined)
    return refuse(`its input or output ${name} has the unknown element type ${tensor.elem_type}`);
  return { name, type: elementType, shape: (tensor.shape?.dim ?? []).map(describeDimension) };
}

function describeDimension({ dim_value, dim_param }: Dimension): number | string | null {
  if (dim_param !== undefined && dim_param !== '') return dim_param;
  return dim_value !== undefined && dim_value > 0 ? dim_value : null;
}

function domainName(domain: string): string {
  return domain === '' ? 'ai.onnx' : domain;
}

const ascii = (text: string): readonly number[] => Array.from(text, (character) => character.charCodeAt(0));

/** What people upload by mistake, told by the first bytes. */
const FOREIGN_FORMATS = [
  { format: 'a ZIP archive (a PyTorch or Keras file?)', magic: ascii('PK\u0003\u0004') },
  { format: 'a Parquet file', magic: ascii('PAR1') },
  { format: 'an HDF5 file', magic: ascii('\u0089HDF') },
  { format: 'a Python pickle', magic: [0x80, 0x04, 0x95] },
  { format: 'a Python pickle', magic: [0x80, 0x05, 0x95] },
  { format: 'JSON', magic: ascii('{"') },
  { format: 'a gzip file', magic: [0x1f, 0x8b] },
  { format: 'a LightGBM text model', magic: ascii('tree\nversion') },
  { format: 'a Git LFS pointer', magic: ascii('version https://git-lfs') },
] as const;

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.length <= bytes.length && magic.every((byte, index) => bytes[index] === byte);
}

function refuse(what: string, cause?: unknown): never {
  throw new SerinError('MODEL_FILE_INVALID', `the model file cannot be served: ${what}`, { cause });
}
