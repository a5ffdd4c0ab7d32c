import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SerinError } from '../domain/errors.ts';
import { loadConfig } from '../platform/config.ts';
import { type Credentials, credentialsFile, readCredentials } from '../platform/embedded/credentials.ts';
import { platformFile } from '../platform/embedded/embedded-platform.ts';
import { type ApiClient, createApiClient } from './api-client.ts';
import { PRINCIPALS } from './principals.ts';

/** What every command accepts. */
export interface GlobalOptions {
  readonly json?: boolean;
  /** A principal of the embedded platform, by name or role. */
  readonly as?: string;
  readonly api?: string;
  readonly home?: string;
}

/** Of a platform that runs in a home (`platform.json`). */
export interface PlatformAddresses {
  readonly apiUrl: string;
  readonly inferenceUrl: string;
  readonly temporalUiUrl: string;
  readonly temporalAddress: string;
  readonly databaseUrl: string;
}

export interface Session {
  readonly api: ApiClient;
  readonly inferenceUrl: string;
  /** Of whom the command acts as; the API client sends it by itself. */
  readonly token: string;
  readonly home: string;
}

export function homeOf({ home }: GlobalOptions): string {
  return resolve(home ?? loadConfig().home);
}

export async function readPlatform(home: string): Promise<PlatformAddresses | undefined> {
  try {
    return JSON.parse(await readFile(platformFile(home), 'utf8')) as PlatformAddresses;
  } catch {
    return undefined; // nothing runs there
  }
}

/**
 * Whom the command talks to and as whom. The address: `--api`, SERIN_API_URL, the platform of the home, the default. The
 * token: `--as` of the home's credentials, SERIN_TOKEN, the principal of the home that may do what this command does.
 * @param role what the command needs, where no one was named
 */
export async function openSession(options: GlobalOptions, role: keyof Credentials): Promise<Session> {
  const config = loadConfig();
  const home = homeOf(options);
  const platform = await readPlatform(home);
  const given = config.given;
  const token = await tokenOf(options, home, config.token, role);
  return {
    api: createApiClient({
      url: options.api ?? (given.has('SERIN_API_URL') ? config.apiUrl : (platform?.apiUrl ?? config.apiUrl)),
      token,
    }),
    inferenceUrl: given.has('SERIN_INFERENCE_URL')
      ? config.inferenceUrl
      : (platform?.inferenceUrl ?? config.inferenceUrl),
    token,
    home,
  };
}

async function tokenOf(
  { as }: GlobalOptions,
  home: string,
  configured: string,
  role: keyof Credentials,
): Promise<string> {
  if (as === undefined && configured !== '') return configured;
  const credentials = await readCredentials(home);
  if (credentials === undefined) {
    throw new SerinError(
      'UNAUTHENTICATED',
      `no token: set SERIN_TOKEN, or start a platform whose credentials are kept in ${credentialsFile(home)} with: serin up`,
    );
  }
  const wanted = as ?? role;
  const principal = PRINCIPALS.find((each) => each.name === wanted || each.role === wanted);
  if (principal === undefined) {
    const known = PRINCIPALS.map((each) => `${each.name} (${each.role})`).join(', ');
    throw new SerinError('UNAUTHENTICATED', `--as is "${wanted}"; ${credentialsFile(home)} has ${known}`);
  }
  return credentials[principal.role];
}
