/** Predict requests for the model of routed-model.ts: a field of each type. */
import { bodies, type HostileCase, httpRequest, nested } from './http-request.ts';

/** @param members as JSON; they replace those of a right instance, and an empty text takes one away */
function instance(members: Readonly<Record<string, string>>): string {
  const all = {
    distance: '250',
    carrier: '"AA"',
    stops: '1',
    night: 'false',
    departs: '"2001-06-01T12:00:00Z"',
    ...members,
  };
  const written = Object.entries(all).flatMap(([name, json]) =>
    json === '' ? [] : [`${JSON.stringify(name)}:${json}`],
  );
  return `{${written.join(',')}}`;
}

const list = (...instances: readonly string[]): string => `{"instances":[${instances.join(',')}]}`;

export function predictCases(path: string): HostileCase[] {
  const contentType: HostileCase = {
    name: 'a content type that is none',
    pieces: [httpRequest('POST', path, { 'content-type': ';;;,\\' }, instance({}))],
    status: 415,
    rule: 'send application/json',
  };
  const inBody = bodies(path, [
    ['nothing', '{}', 'the field "distance" is missing'],
    ['a field that is missing', instance({ stops: '' }), 'the field "stops" is missing'],
    ['a field there is not', instance({ wings: '2' }), 'is not a field of trip@1'],
    ['a field of a prototype', instance({ ['__proto__']: '{"distance":1}' }), 'is not a field of trip@1'],
    ['a constructor', instance({ constructor: '{"prototype":{}}' }), 'is not a field of trip@1'],
    ['a field name of a megabyte', instance({ ['x'.repeat(1 << 20)]: '1' }), 'is not a field of trip@1'],
    ['text as number', instance({ distance: '"250"' }), 'the field "distance" is "250"'],
    ['NaN', instance({ distance: 'NaN' }), 'the body is no JSON'],
    ['1e400', instance({ distance: '1e400' }), 'the field "distance" is Infinity'],
    ['half a whole number', instance({ stops: '1.5' }), 'the field "stops" is 1.5'],
    ['a whole number beyond 2^53', instance({ stops: '9007199254740993' }), 'a whole number within'],
    ['a number as truth', instance({ night: '1' }), 'the field "night" is'],
    ['a list as text', instance({ carrier: '["AA"]' }), 'the field "carrier" is'],
    ['a lone surrogate', instance({ carrier: '"\\ud800"' }), 'well-formed Unicode'],
    ['a list 100,000 deep as text', instance({ carrier: nested(100_000) }), 'the field "carrier" is'],
    ['a time without a zone', instance({ departs: '"2001-06-01T12:00:00"' }), 'a time needs Z or an offset'],
    ['a day there is not', instance({ departs: '"2001-02-30T12:00:00Z"' }), 'the field "departs" is'],
    ['a time as number', instance({ departs: '991396800' }), 'the field "departs" is'],
    ['an id with a NUL', instance({ id: '"a\\u0000b"' }), 'id is "a\\u0000b": must be a text'],
    ['an id that is half a character', instance({ id: '"\\udc00"' }), 'well-formed'],
    ['an id of a megabyte', instance({ id: JSON.stringify('x'.repeat(1 << 20)) }), 'must be a text of 1 to 256'],
    ['an empty unit', instance({ unit: '""' }), 'must be a text of 1 to 256'],
    ['an instant as number', instance({ asOf: '991396800000000' }), 'asOf is 991396800000000'],
    ['an instant before all', instance({ asOf: '"0000-01-01T00:00:00Z"' }), 'asOf is'],
    ['instances that are no list', '{"instances":{"length":1}}', 'must be a list of instances'],
    ['no instances', list(), 'must hold 1 to 1000 of them'],
    ['too many instances', list(...Array.from({ length: 1_001 }, () => instance({}))), 'must hold 1 to 1000 of them'],
    ['an instance that is null', list(instance({}), 'null'), 'must be an object'],
    ['instances in instances', list(nested(1_000)), 'must be an object'],
    ['a bad one among good ones', list(instance({}), instance({ distance: '[]' }), instance({})), 'instances/1'],
    ['an id twice', list(instance({ id: '"a"' }), instance({ id: '"a"' })), 'is the id of another instance'],
    ['instances and a field', `${list(instance({})).slice(0, -1)},"distance":1}`, 'beside instances there is nothing'],
    // what is unusual and right all the same
    [
      'all unknown',
      instance({ distance: 'null', carrier: 'null', stops: 'null', night: 'null', departs: 'null' }),
      null,
    ],
    ['minus zero', instance({ distance: '-0', stops: '-0' }), null],
    ['the largest numbers', instance({ distance: '1.7976931348623157e308', stops: '9007199254740991' }), null],
    ['a thousand instances', list(...Array.from({ length: 1_000 }, () => instance({}))), null],
  ]);
  return [contentType, ...inBody];
}
