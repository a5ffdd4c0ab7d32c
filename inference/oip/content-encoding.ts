import { promisify } from 'node:util';
import { deflate, gunzip, gzip, inflate } from 'node:zlib';
import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import { MESSAGE_LIMIT_BYTES, refusal } from './describe.ts';

/** Smaller answers are not worth the CPU of compressing them. */
const COMPRESS_FROM_BYTES = 1_024;

const DECODERS = new Map([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
]);
const ENCODERS = new Map([
  ['gzip', promisify(gzip)],
  ['deflate', promisify(deflate)],
]);

/** @param contentEncoding of the request's headers @param limitBytes of the decoded body @throws SerinError INPUT_INVALID */
export async function decodeBody(
  contentEncoding: string | undefined,
  body: Buffer,
  limitBytes = MESSAGE_LIMIT_BYTES,
): Promise<Buffer> {
  const encoding = contentEncoding?.toLowerCase();
  if (encoding === undefined || encoding === 'identity') return body;
  const decode = DECODERS.get(encoding);
  if (decode === undefined) {
    throw refusal(`the content encoding ${shownValue(encoding)} is not taken; gzip and deflate are`);
  }
  try {
    return await decode(body, { maxOutputLength: limitBytes });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const rule = code === 'ERR_BUFFER_TOO_LARGE' ? `it has more than ${limitBytes} bytes when it is unpacked` : message;
    throw new SerinError('INPUT_INVALID', `the body cannot be decoded as ${encoding}: ${rule}`, { cause: error });
  }
}

/** @param accepted `Accept-Encoding` @returns how an answer is to be compressed; undefined: not at all */
export function encodingFor(
  accepted: string | readonly string[] | undefined,
  body: string | Buffer,
): string | undefined {
  if (accepted === undefined || body.length < COMPRESS_FROM_BYTES) return undefined;
  return [...ENCODERS.keys()].find((name) => accepts(accepted, name));
}

/** @param encoding of `encodingFor` */
export function encodeBody(encoding: string, body: string | Buffer): Promise<Buffer> {
  return ENCODERS.get(encoding)!(body);
}

/** Of a list such as `gzip;q=0.5, deflate`; a quality of 0 is a no (RFC 9110, 12.5.3). */
function accepts(accepted: string | readonly string[], encoding: string): boolean {
  return String(accepted)
    .toLowerCase()
    .split(',')
    .some((part) => {
      const [name, ...parameters] = part.split(';').map((piece) => piece.trim());
      return name === encoding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    });
}
