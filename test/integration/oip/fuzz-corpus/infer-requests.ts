/** Infer requests for `m` (features FP32 [-1,2] → score) and `all` (one input per datatype, [-1,2]). */
import { bodies, type HostileCase, httpRequest, nested } from './http-request.ts';

export const INFER = '/v2/models/m/infer';
export const GOOD = '{"id":"good","inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"data":[4,2]}]}';
/** The model answers x + y / 2 + 0.25. */
export const GOOD_SCORE = 5.25;

/** @param members of the one input, as JSON; they replace those of a right one */
export function inferBody(members: Readonly<Record<string, string>>, request = ''): string {
  const input = Object.entries({ name: '"features"', datatype: '"FP32"', shape: '[1,2]', data: '[4,2]', ...members });
  return `{"inputs":[{${input.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}]${request}}`;
}

const withData = (data: string) => inferBody({ data });
const withShape = (shape: string) => inferBody({ shape });

export const INFER_CASES: readonly HostileCase[] = bodies(INFER, [
  ['nothing', '{}', '"inputs" must be a list'],
  ['inputs that are no list', '{"inputs":{}}', '"inputs" must be a list'],
  ['no inputs', '{"inputs":[]}', "expected 1 inputs but got 0 inputs for model 'm', which takes 'features': []"],
  ['an input that is null', '{"inputs":[null]}', 'an input must be an object'],
  ['100,000 inputs', `{"inputs":[${'{},'.repeat(99_999)}{}]}`, 'expected 1 inputs but got 100000'],
  ['an input too many', GOOD.replace(']}]', ']},{"name":"more"}]'), 'which takes \'features\': ["features","more"]'],
  ['an input without anything', '{"inputs":[{}]}', 'unexpected inference input missing'],
  ['a name that is no text', inferBody({ name: '7' }), 'unexpected inference input 7'],
  ['a name with a NUL', inferBody({ name: '"features\\u0000"' }), 'unexpected inference input "features\\u0000"'],
  ['a name of a megabyte', inferBody({ name: JSON.stringify('x'.repeat(1 << 20)) }), 'unexpected inference input "xxx'],
  ['a datatype there is not', inferBody({ datatype: '"FP33"' }), 'datatype "FP33", expected FP32'],
  ['a datatype that is another', inferBody({ datatype: '"FP64"' }), "data-type is 'FP64'"],
  ['a datatype of a prototype', inferBody({ datatype: '"constructor"' }), 'datatype "constructor", expected FP32'],
  ['a datatype 100,000 deep', inferBody({ datatype: nested(100_000) }), 'datatype [[[…]]], expected FP32'],
  ['an id that is no text', inferBody({}, ',"id":7'), '"id" must be a string'],
  ['outputs that are no list', inferBody({}, ',"outputs":7'), '"outputs" must be a list'],
  ['an output there is not', inferBody({}, ',"outputs":[{"name":"y"}]'), 'unexpected inference output "y"'],
  ['an output twice', inferBody({}, ',"outputs":[{"name":"score"},{"name":"score"}]'), 'asked for twice'],
  ['parameters that are no object', inferBody({}, ',"parameters":[]'), 'must be an object'],
  ['a parameter that is a list', inferBody({}, ',"parameters":{"a":[]}'), 'must be a string, a number or a boolean'],
  [
    'a parameter name of a megabyte',
    inferBody({}, `,"parameters":{"${'x'.repeat(1 << 20)}":null}`),
    'must be a string, a number or a boolean',
  ],
  [
    'a priority of a megabyte',
    inferBody({}, `,"parameters":{"priority":"${'1'.repeat(1 << 20)}"}`),
    'the parameter "priority" is',
  ],
  [
    'a yes that is no true',
    inferBody({}, ',"parameters":{"binary_data_output":"yes"}'),
    '"yes", expected true or false',
  ],
  ['a 1 that is no true', inferBody({ parameters: '{"null_is_nan":1}' }), "of input 'features' is 1, expected true"],
  [
    'an output with a 1 that is no true',
    inferBody({}, ',"outputs":[{"name":"score","parameters":{"binary_data":1}}]'),
    'the parameter "binary_data" of output \'score\' is 1, expected true or false',
  ],
  [
    'an output that is to be put into shared memory',
    inferBody({}, ',"outputs":[{"name":"score","parameters":{"shared_memory_region":"r"}}]'),
    "output 'score' asks for the shared memory extension",
  ],
  [
    'an input that lies in shared memory',
    inferBody({ parameters: '{"shared_memory_region":"r","shared_memory_byte_size":8}' }),
    "input 'features' asks for the shared memory extension",
  ],
  ['a timeout before now', inferBody({}, ',"parameters":{"timeout":-1}'), 'expected microseconds'],
  ['a timeout in words', inferBody({}, ',"parameters":{"timeout":"soon"}'), 'expected microseconds'],
  ['NaN', withData('[NaN,1]'), 'the body is no JSON'],
  ['Infinity', withData('[Infinity,1]'), 'the body is no JSON'],
  ['-Infinity', withData('[-Infinity,1]'), 'the body is no JSON'],
  ['1e400', withData('[1e400,1]'), 'holds Infinity at 0, expected a number that FP32 holds'],
  ['-1e400', withData('[-1e400,1]'), 'holds -Infinity at 0'],
  ['a number beyond FP32', withData('[1,3.5e38]'), 'holds 3.5e+38 at 1, expected a number that FP32 holds'],
  ['a number as text', withData('["4",2]'), 'holds "4" at 0, expected a number'],
  ['a truth as number', withData('[true,2]'), 'holds true at 0, expected a number'],
  ['null as number', withData('[null,2]'), 'holds null at 0, expected a number'],
  ['an object as number', withData('[{"valueOf":1},2]'), 'at 0, expected a number'],
  ['hexadecimal', withData('[0x10,2]'), 'the body is no JSON'],
  ['a leading zero', withData('[007,2]'), 'the body is no JSON'],
  ['too little data', withData('[1]'), 'got 1 values, expected 2'],
  ['too much data', withData('[1,2,3]'), 'got 3 values, expected 2'],
  ['no data', inferBody({ data: 'null' }), 'must have "data", a list'],
  ['data that is an object', inferBody({ data: '{"0":1,"1":2,"length":2}' }), 'must have "data", a list'],
  ['data 10,000 deep', withData(nested(10_000, '1')), 'in dimension'],
  ['data 100,000 deep', withData(nested(100_000, '1')), 'in dimension'],
  ['data of lists and numbers', withData('[[1],2]'), 'in dimension 0'],
  ['rows of different length', inferBody({ shape: '[2,2]', data: '[[1,2],[3]]' }), 'has a list of 1 in dimension 1'],
  ['no rows', inferBody({ shape: '[0,2]', data: '[]' }), 'has no rows'],
  ['no columns', inferBody({ shape: '[1,0]', data: '[]' }), 'unexpected shape'],
  ['no shape', inferBody({ shape: 'null' }), 'must have a shape of non-negative integers'],
  ['an empty shape', withShape('[]'), 'unexpected shape'],
  ['a flat shape', withShape('[2]'), 'unexpected shape'],
  ['a deep shape', withShape('[1,1,2]'), 'unexpected shape'],
  ['a negative dimension', withShape('[-1,2]'), 'non-negative integers'],
  ['half a dimension', withShape('[0.5,2]'), 'non-negative integers'],
  ['a dimension as text', withShape('["1",2]'), 'non-negative integers'],
  ['a dimension of 2^53', withShape('[9007199254740992,2]'), 'non-negative integers'],
  ['a dimension of 1e400', withShape('[1e400,2]'), 'non-negative integers'],
  ['dimensions that overflow', withShape('[9007199254740991,2]'), 'at most 67108864 are taken at once'],
  ['more rows than data', withShape('[33554432,2]'), 'got 2 values, expected 67108864'],
  ['100,000 dimensions', withShape(`[${'1,'.repeat(99_999)}1]`), 'unexpected shape'],
  ['100,000 dimensions of depth', withShape(nested(100_000)), 'non-negative integers'],
  [
    'the members of a prototype alone',
    '{"__proto__":{"inputs":[]},"constructor":{"prototype":{"inputs":[]}}}',
    '"inputs" must be a list',
  ],
  [
    'parameters of a prototype',
    inferBody({}, ',"parameters":{"__proto__":{"binary_data_output":true}}'),
    'must be a string',
  ],
  [
    'a member of a prototype beside the input',
    inferBody({ ['__proto__']: '{"data":[1,2]}', data: '[1]' }),
    'got 1 values',
  ],
  // what is unusual and right all the same: RFC 8259 leaves repeated names to the reader, the last one counts here
  ['a member twice', GOOD.replace('"data"', '"data":[],"data"'), null],
  ['minus zero', withData('[-0,-0.0]'), null],
  ['a number with 10,000 digits', withData(`[0.${'1'.repeat(10_000)},2]`), null],
  ['escapes everywhere', GOOD.replace('features', 'f\\u0065atures'), null],
  ['a lone surrogate as id', inferBody({}, ',"id":"\\ud800"'), null],
  ['members that mean nothing', inferBody({ anything: nested(1_000) }, ',"more":{"__proto__":1}'), null],
]);

const ALL = '/v2/models/all/infer';
/** Of the identity model, in the order of its inputs. */
export const ALL_TYPES = [
  'FP32',
  'UINT8',
  'INT8',
  'INT32',
  'INT64',
  'BYTES',
  'BOOL',
  'FP64',
  'FP16',
  'UINT64',
] as const;
/** onnx.proto's numbers of them. */
export const ALL_ELEMENT_TYPES: readonly number[] = [1, 2, 3, 6, 7, 8, 9, 11, 10, 13];

function typed(datatype: (typeof ALL_TYPES)[number], value: string): string {
  const inputs = ALL_TYPES.map((type, i) => {
    const zero = type === 'BYTES' ? '""' : type === 'BOOL' ? 'false' : '0';
    const data = `[${type === datatype ? value : zero},${zero}]`;
    return `{"name":"in${i}","datatype":"${type}","shape":[1,2],"data":${data}}`;
  });
  return `{"inputs":[${inputs.join(',')}]}`;
}

export const TYPE_CASES: readonly HostileCase[] = bodies(ALL, [
  ['-1 as UINT8', typed('UINT8', '-1'), 'within 0 and 255'],
  ['256 as UINT8', typed('UINT8', '256'), 'within 0 and 255'],
  ['128 as INT8', typed('INT8', '128'), 'within -128 and 127'],
  ['2^31 as INT32', typed('INT32', '2147483648'), 'within -2147483648 and 2147483647'],
  ['half an INT32', typed('INT32', '0.5'), 'expected an integer'],
  ['1e400 as INT32', typed('INT32', '1e400'), 'holds Infinity at 0, expected an integer'],
  ['2^53 as INT64', typed('INT64', '9007199254740993'), 'beyond 2^53 send it as text or as binary data'],
  ['2^63 as INT64', typed('INT64', '"9223372036854775808"'), 'within -9223372036854775808 and 9223372036854775807'],
  ['10,000 digits as INT64', typed('INT64', `"${'9'.repeat(10_000)}"`), 'expected an integer'],
  ['words as INT64', typed('INT64', '"0x10"'), 'expected an integer'],
  ['-1 as UINT64', typed('UINT64', '"-1"'), 'within 0 and 18446744073709551615'],
  ['2 as BOOL', typed('BOOL', '2'), 'expected true or false'],
  ['text as BOOL', typed('BOOL', '"true"'), 'expected true or false'],
  ['1e400 as FP64', typed('FP64', '1e400'), 'expected a number that FP64 holds'],
  ['65520 as FP16', typed('FP16', '65520'), 'expected a number that FP16 holds'],
  ['a number as BYTES', typed('BYTES', '1'), 'expected a string'],
  ['a NUL in BYTES', typed('BYTES', '"a\\u0000b"'), 'holds a NUL at 0'],
  ['a lone surrogate in BYTES', typed('BYTES', '"\\udfff"'), 'no well-formed Unicode at 0'],
  [
    'inputs that disagree on the rows',
    typed('FP32', '0').replace('"FP32","shape":[1,2],"data":[0,0]', '"FP32","shape":[2,2],"data":[0,0,0,0]'),
    "input 'in1' has 1 rows, input 'in0' has 2",
  ],
  ['the largest of each', typed('UINT64', '"18446744073709551615"'), null],
]);

function binary(head: string, data: Buffer, length = String(Buffer.byteLength(head))): Buffer {
  const body = Buffer.concat([Buffer.from(head), data]);
  return httpRequest('POST', INFER, { 'inference-header-content-length': length }, body);
}

const floats = Buffer.from(Float32Array.of(4, 2).buffer);
const sized = (size: string) =>
  `{"inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":${size}}}]}`;

function texts(data: Buffer): Buffer {
  const head = '{"inputs":[{"name":"in0","datatype":"BYTES","shape":[1,2],"parameters":{"binary_data_size":SIZE}}]}';
  const sizedHead = head.replace('SIZE', String(data.length));
  const headers = { 'inference-header-content-length': String(Buffer.byteLength(sizedHead)) };
  return httpRequest('POST', '/v2/models/text/infer', headers, Buffer.concat([Buffer.from(sizedHead), data]));
}

const text = (length: number, bytes: string): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(length);
  return Buffer.concat([size, Buffer.from(bytes, 'latin1')]);
};

const BINARY: readonly (readonly [name: string, request: Buffer, rule: string | null])[] = [
  ['a header length in words', binary(sized('8'), floats, 'long'), 'expected the number of bytes of JSON'],
  ['a negative header length', binary(sized('8'), floats, '-1'), 'expected the number of bytes of JSON'],
  ['half a header length', binary(sized('8'), floats, '1.5'), 'expected the number of bytes of JSON'],
  ['a hexadecimal header length', binary(sized('8'), floats, '0x5d'), 'expected the number of bytes of JSON'],
  ['a header length beyond the body', binary(sized('8'), floats, '999999'), 'is 999999, but the body has'],
  ['a header length beyond all numbers', binary(sized('8'), floats, '9'.repeat(40)), 'expected the number of bytes'],
  ['a header length within the JSON', binary(sized('8'), floats, '20'), 'the body is no JSON'],
  ['a header length within the data', binary(sized('8'), floats, String(sized('8').length + 4)), 'the body is no'],
  ['a size that is no number', binary(sized('"8"'), floats), 'expected a number of bytes'],
  ['a negative size', binary(sized('-8'), floats), 'expected a number of bytes'],
  ['half a size', binary(sized('7.5'), floats), 'expected a number of bytes'],
  ['a size of 1e400', binary(sized('1e400'), floats), 'expected a number of bytes'],
  ['a size beyond the body', binary(sized('4294967296'), floats), 'only 8 bytes of binary data are left'],
  ['a size that is not the shape’s', binary(sized('4'), floats), 'has 4 bytes of binary data, expected 8'],
  ['no data for a size', binary(sized('8'), Buffer.alloc(0)), 'only 0 bytes of binary data are left'],
  ['data for nobody', binary(sized('8'), Buffer.alloc(16)), '8 bytes of binary data belong to no input'],
  [
    'data twice',
    binary(sized('8').replace('"parameters"', '"data":[1,2],"parameters"'), floats),
    'both "data" and binary',
  ],
  ['binary data without the header', httpRequest('POST', INFER, {}, sized('8')), 'no Inference-Header-Content-Length'],
  ['raw data that is no row', binary('', Buffer.alloc(7)), 'the body has 7 bytes, which is no input'],
  [
    'no raw data',
    httpRequest('POST', INFER, { 'inference-header-content-length': '0', 'content-length': '0' }),
    'the body has 0 bytes',
  ],
  [
    'a text longer than the data',
    texts(Buffer.concat([text(1, 'a'), text(4_294_967_295, 'b')])),
    'ends within element 1',
  ],
  ['a text without its length', texts(Buffer.concat([text(1, 'a'), Buffer.from('ab')])), 'ends within element 1'],
  ['too few texts', texts(text(1, 'a')), 'has 1 elements, expected 2'],
  ['too many texts', texts(Buffer.concat([text(0, ''), text(0, ''), text(0, '')])), 'has 3 elements, expected 2'],
  ['a text that is no UTF-8', texts(Buffer.concat([text(2, '\xc3\x28'), text(0, '')])), 'is no UTF-8 at 0'],
  ['a text with a NUL', texts(Buffer.concat([text(3, 'a\0b'), text(0, '')])), 'holds a NUL at 0'],
  ['a content type that is none', httpRequest('POST', INFER, { 'content-type': ';;;,\\' }, GOOD), null],
  // what JSON cannot say, binary data can
  ['NaN and infinity', binary(sized('8'), Buffer.from(Float32Array.of(NaN, -Infinity).buffer)), null],
  ['a raw row', binary('', floats), null],
];

export const BINARY_CASES: readonly HostileCase[] = BINARY.map(([name, request, rule]) => ({
  name,
  pieces: [request],
  status: rule === null ? 200 : 400,
  rule,
}));
