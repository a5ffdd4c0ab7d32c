/** What is no JSON, or JSON that means no object: for any route that takes a POST of JSON. */
import { bodies, type HostileCase, nested } from './http-request.ts';

export function jsonCases(path: string, good: string): HostileCase[] {
  const noJson = 'the body is no JSON';
  return bodies(path, [
    ['half of the JSON', good.slice(0, good.length / 2), noJson],
    ['JSON and more', `${good}x`, noJson],
    ['two documents', `${good}${good}`, noJson],
    ['a NUL behind the JSON', `${good}\0`, noJson],
    ['nothing but NULs', '\0'.repeat(1_000), noJson],
    ['a byte order mark', Buffer.concat([Buffer.from('efbbbf', 'hex'), Buffer.from(good)]), noJson],
    ['UTF-16', Buffer.from(good, 'utf16le'), noJson],
    ['invalid UTF-8', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]), 'no UTF-8'],
    [
      'overlong UTF-8',
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
      'no UTF-8',
    ],
    [
      'a surrogate in UTF-8',
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from('eda080', 'hex'), Buffer.from('"}')]),
      'no UTF-8',
    ],
    ['a form', 'inputs=1&outputs=2', noJson],
    ['lists 10,000 deep, not closed', '['.repeat(10_000), noJson],
    ['objects 100,000 deep, not closed', '{"a":'.repeat(100_000), noJson],
    ['lists 10,000 deep', nested(10_000), 'must be a'],
    ['lists 100,000 deep', nested(100_000), 'must be a'],
    ['a comment', `/* */${good}`, noJson],
    ['single quotes', good.replaceAll('"', "'"), noJson],
    ['a trailing comma', good.replace(/\}$/, ',}'), noJson],
    ['null', 'null', 'must be a'],
    ['a number', '1', 'must be a'],
    ['a text', '"text"', 'must be a'],
    ['a list', '[]', 'must be a'],
  ]);
}
