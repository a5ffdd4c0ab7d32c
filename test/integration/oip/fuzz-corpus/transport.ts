/** What is wrong before anybody reads the body: for any route that takes a POST of JSON. */
import { deflateSync, gzipSync } from 'node:zlib';
import { type HostileCase, httpRequest } from './http-request.ts';

const MIB = 1 << 20;

/**
 * @param path   of a route that answers 200 to a POST of `good`
 * @param limit  of its body, in bytes
 */
export function transportCases(path: string, good: string, limit: number): HostileCase[] {
  const post = (headers: Readonly<Record<string, string>>, body: string | Buffer = good) =>
    httpRequest('POST', path, headers, body);
  const head = (lines: string): string => `POST ${path} HTTP/1.1\r\nhost: localhost\r\n${lines}\r\n\r\n`;
  const size = Buffer.byteLength(good);
  const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
  const chunked = head('transfer-encoding: chunked');
  const notHttp = 'this is no HTTP/1.1 request';
  const bad = (name: string, bytes: string | Buffer, rule: string | null = notHttp): HostileCase => ({
    name,
    pieces: [bytes],
    status: 400,
    rule,
  });
  return [
    bad('a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')),
    bad('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    bad('no HTTP', 'hello?\r\n\r\n'),
    bad('a method there is not', `FETCH ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`),
    bad('a method in lower case', `post ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`),
    bad('a version there is not', `GET ${path} HTTP/9.9\r\nhost: localhost\r\n\r\n`),
    bad('a header without a colon', head('what is this')),
    bad('a header name with a space', head('content length: 5')),
    bad('a space before the colon', head(`content-length : ${size}`)),
    bad('a NUL in a header', head('x-name: a\0b')),
    bad('no host', `POST ${path} HTTP/1.1\r\n\r\n`, null),
    bad('a negative length', head('content-length: -5')),
    bad('a length in words', head('content-length: many')),
    bad('a length beyond all numbers', head('content-length: 99999999999999999999999')),
    bad('two lengths', head(`content-length: ${size}\r\ncontent-length: ${size + 1}`)),
    bad('a length and chunks', head(`content-length: ${size}\r\ntransfer-encoding: chunked`)),
    bad('a transfer encoding there is not', head('transfer-encoding: shuffled')),
    bad('a chunk size that is none', `${chunked}zz\r\nabc\r\n0\r\n\r\n`),
    bad('a chunk size beyond all numbers', `${chunked}fffffffffffffffff\r\n`),
    bad('a chunk longer than it says', `${chunked}2\r\nabcdef\r\n0\r\n\r\n`),
    {
      name: 'headers beyond 16 KiB',
      pieces: [head(`x-long: ${'a'.repeat(20_000)}`)],
      status: 431,
      rule: 'larger than 16 KiB',
    },
    {
      name: 'thousands of headers',
      pieces: [head(Array.from({ length: 5_000 }, (_, i) => `x-${i}: a`).join('\r\n'))],
      status: 431,
      rule: 'larger than 16 KiB',
    },
    {
      name: 'an address beyond 16 KiB',
      pieces: [httpRequest('POST', `${path}?${'a'.repeat(20_000)}`, {}, good)],
      status: 431,
      rule: 'larger than 16 KiB',
    },
    {
      name: 'an address that cannot be decoded',
      pieces: [httpRequest('GET', '/v2/models/%ff%fe')],
      status: 400,
      rule: 'not a valid url component',
    },
    {
      name: 'a name longer than any',
      pieces: [httpRequest('GET', `/v2/models/${'m'.repeat(300)}`)],
      status: 404,
      rule: 'nothing answers GET',
    },
    { name: 'a GET', pieces: [httpRequest('GET', path)], status: 405, rule: 'takes POST' },
    { name: 'a DELETE', pieces: [httpRequest('DELETE', path)], status: 405, rule: 'takes POST' },
    { name: 'a POST to the server', pieces: [httpRequest('POST', '/v2', {}, '{}')], status: 405, rule: 'takes GET' },
    { name: 'a PUT with a body', pieces: [httpRequest('PUT', path, {}, good)], status: 405, rule: 'takes POST' },
    {
      name: 'an address there is not',
      pieces: [httpRequest('GET', `${path}/more`)],
      status: 404,
      rule: 'nothing answers',
    },
    {
      name: 'a length beyond the limit, before the body is sent',
      pieces: [head(`content-length: ${limit + 1}`)],
      status: 413,
      rule: 'too large',
    },
    {
      name: 'a length beyond the limit that asks first',
      pieces: [head(`content-length: ${limit + 1}\r\nexpect: 100-continue`)],
      status: 413,
      rule: 'too large',
    },
    {
      name: 'chunks beyond the limit',
      pieces: [
        chunked,
        ...Array.from({ length: limit / MIB + 1 }, () => `${MIB.toString(16)}\r\n${'a'.repeat(MIB)}\r\n`),
        '0\r\n\r\n',
      ],
      status: 413,
      rule: 'too large',
    },
    { name: 'an expectation there is not', pieces: [post({ expect: '200-ok' })], status: 417, rule: null },
    { name: 'an encoding there is not', pieces: [post({ 'content-encoding': 'br' })], status: 400, rule: null },
    {
      name: 'two encodings',
      pieces: [post({ 'content-encoding': 'gzip, deflate' }, gzipSync(good))],
      status: 400,
      rule: null,
    },
    {
      name: 'a body that is not what its encoding says',
      pieces: [post({ 'content-encoding': 'gzip' })],
      status: 400,
      rule: null,
    },
    // what is unusual and right all the same
    {
      name: 'a request byte by byte',
      pieces: Array.from(post({}), (byte) => Buffer.of(byte)),
      status: 200,
      rule: null,
    },
    {
      name: 'chunks with trailers',
      pieces: [chunked, chunk(good.slice(0, 9)), chunk(good.slice(9)), '0\r\nx-sum: 1\r\n\r\n'],
      status: 200,
      rule: null,
    },
    {
      name: 'a body that asks first',
      pieces: [head(`content-length: ${size}\r\nexpect: 100-continue`), good],
      status: 200,
      rule: null,
    },
    {
      name: 'HTTP/1.0',
      pieces: [`POST ${path} HTTP/1.0\r\ncontent-length: ${size}\r\n\r\n${good}`],
      status: 200,
      rule: null,
    },
    { name: 'a content type that is another', pieces: [post({ 'content-type': 'text/xml' })], status: 200, rule: null },
  ];
}

/** @param good a body that the route answers with 200 */
export function encodingCases(path: string, good: string): HostileCase[] {
  const encoded = (name: string, encoding: string, body: Buffer, rule: string): HostileCase => ({
    name,
    pieces: [httpRequest('POST', path, { 'content-encoding': encoding }, body)],
    status: 400,
    rule,
  });
  return [
    encoded('no gzip', 'gzip', Buffer.from(good), 'cannot be decoded as gzip: incorrect header check'),
    encoded('gzip called deflate', 'deflate', gzipSync(good), 'cannot be decoded as deflate'),
    encoded('half of a gzip', 'gzip', gzipSync(good).subarray(0, -12), 'cannot be decoded as gzip'),
    encoded('a gzip with a wrong sum', 'gzip', flipped(gzipSync(good)), 'cannot be decoded as gzip'),
    encoded('a gzip bomb', 'gzip', gzipSync(Buffer.alloc(200 * MIB)), 'bytes when it is unpacked'),
    encoded('a deflate bomb', 'deflate', deflateSync(Buffer.alloc(200 * MIB)), 'cannot be decoded as deflate'),
    encoded('a gzip of a gzip bomb', 'gzip', gzipSync(gzipSync(Buffer.alloc(200 * MIB))), 'the body is no UTF-8'),
    encoded('two encodings', 'gzip, deflate', gzipSync(good), 'is not taken; gzip and deflate are'),
    encoded('an encoding there is not', 'br', Buffer.from(good), 'is not taken; gzip and deflate are'),
  ];
}

/** The checksum of a gzip is its fifth to eighth byte from the end. */
function flipped(bytes: Buffer): Buffer {
  const wrong = Buffer.from(bytes);
  wrong[wrong.length - 6] = wrong[wrong.length - 6]! ^ 0xff;
  return wrong;
}
