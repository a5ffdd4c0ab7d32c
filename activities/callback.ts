/**
 * Answers delivered to an address that a client named. Signed as Standard Webhooks says (standardwebhooks.com): the headers
 * webhook-id, webhook-timestamp and webhook-signature, `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.
 */
import { createHmac } from 'node:crypto';
import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP } from 'node:net';
import { SerinError } from '../domain/errors.ts';

export interface Callback {
  readonly url: string;
  /** `whsec_` and base64, or any text; null: it is not signed. */
  readonly secret: string | null;
  /** The same for every attempt, so that a receiver knows what it has had. */
  readonly id: string;
  readonly body: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  /** Headers that name the trace it belongs to. */
  readonly trace?: Readonly<Record<string, string>>;
}

const ATTEMPT_MS = 15_000;

/**
 * One attempt. Only 2xx counts; a redirect is not followed.
 * @param anywhere also plain HTTP, and addresses that are not public
 * @throws SerinError CALLBACK_REFUSED for an address that may not be called, CALLBACK_FAILED for one that did not take it
 */
export async function deliver(callback: Callback, anywhere: boolean, signal: AbortSignal): Promise<void> {
  const { url, id, body, timestamp, secret, trace } = callback;
  const target = new URL(url);
  if (!anywhere) refuseAddress(target);
  const headers = {
    ...trace,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'user-agent': 'serin',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    ...(secret !== null && { 'webhook-signature': `v1,${signatureOf(secret, id, timestamp, body)}` }),
  };
  const send = target.protocol === 'http:' ? httpRequest : httpsRequest;
  const status = await new Promise<number>((settle, fail) => {
    const sent = send(
      target,
      {
        method: 'POST',
        headers,
        agent: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]),
        // the address that is checked is the one that is called, whatever the name says a moment later
        ...(!anywhere && { lookup: publicLookup }),
      },
      (response) => {
        // what the receiver says is not read
        response.destroy();
        settle(response.statusCode ?? 0);
      },
    );
    sent.on('error', fail);
    sent.end(body);
  }).catch((error: unknown) => {
    if (error instanceof SerinError || signal.aborted) throw error;
    throw failed(url, (error as Error).message, error);
  });
  if (status < 200 || status > 299) throw failed(url, `it answered ${status}`);
}

export function signatureOf(secret: string, id: string, timestamp: number, body: string): string {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : secret;
  return createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
}

const NOT_PUBLIC = new BlockList();
// RFC 6890 and its registry: this network, private, shared, loopback, link-local, protocol, documentation, benchmarks, multicast, reserved
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv4');
const GLOBAL = new BlockList();
GLOBAL.addSubnet('2000::', 3, 'ipv6');
// protocol assignments, documentation, and IPv4 addresses in another form
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv6');

export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !NOT_PUBLIC.check(address, 'ipv4');
  return GLOBAL.check(address, 'ipv6') && !NOT_PUBLIC.check(address, 'ipv6');
}

function refuseAddress({ protocol, hostname, href }: URL): void {
  if (protocol !== 'https:') throw refused(href, 'only https is called');
  const literal = hostname.replace(/^\[|\]$/g, '');
  if (isIP(literal) !== 0 && !isPublic(literal)) throw refused(href, `${literal} is not a public address`);
}

function publicLookup(
  host: string,
  options: LookupOptions,
  callback: (error: Error | null, address: string | LookupAddress[], family?: number) => void,
): void {
  resolve(host, { ...options, all: true }, (error, addresses) => {
    if (error) {
      callback(error, []);
      return;
    }
    const inside = addresses.find(({ address }) => !isPublic(address));
    if (inside !== undefined) callback(refused(host, `it is ${inside.address}, which is not a public address`), []);
    else if (options.all === true) callback(null, addresses);
    else callback(null, addresses[0]!.address, addresses[0]!.family);
  });
}

function refused(what: string, why: string): SerinError {
  return new SerinError(
    'CALLBACK_REFUSED',
    `the callback to ${what} is not made: ${why}; an operator may allow it (SERIN_CALLBACK_TO)`,
  );
}

function failed(url: string, why: string, cause?: unknown): SerinError {
  return new SerinError('CALLBACK_FAILED', `the callback to ${url} was not taken: ${why}`, { cause });
}
