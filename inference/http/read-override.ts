import type { IncomingHttpHeaders } from 'node:http';
import { SerinError } from '../../domain/errors.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Override } from '../scoring/answer.ts';

const VERSION_HEADER = 'x-serin-version';
const ARM_HEADER = 'x-serin-arm';

/** Whether a request says who is to answer; of all others the unit's hash does. */
export function hasOverride(headers: IncomingHttpHeaders): boolean {
  return headers[VERSION_HEADER] !== undefined || headers[ARM_HEADER] !== undefined;
}

/**
 * Whom a tester asks to answer.
 * @throws SerinError INPUT_INVALID naming the header, VERSION_NOT_FOUND for what this node has not loaded
 */
export function readOverride(headers: IncomingHttpHeaders, entry: RouteEntry): Override {
  const version = headers[VERSION_HEADER];
  const arm = headers[ARM_HEADER];
  if (version !== undefined && arm !== undefined)
    throw invalid(ARM_HEADER, arm, `it comes with ${VERSION_HEADER}: send one of the two`);
  return version === undefined ? readArm(arm, entry) : readVersion(version, entry);
}

function readVersion(value: string | string[] | undefined, { route, loaded }: RouteEntry): Override {
  const [, digits] = /^v?(\d{1,9})$/.exec(String(value)) ?? [];
  if (digits === undefined) throw invalid(VERSION_HEADER, value, 'it must be one version, such as 4');
  const version = Number(digits);
  if (loaded.some((served) => served.version === version)) return { version };
  throw new SerinError(
    'VERSION_NOT_FOUND',
    `version ${version} of "${route.model}" is not loaded here; ${loaded.map((served) => served.version).join(', ')} are`,
    { fields: { model: route.model, version, loaded: loaded.map((served) => served.version) } },
  );
}

function readArm(value: string | string[] | undefined, { route, canary }: RouteEntry): Override {
  if (value !== 'champion' && value !== 'canary') throw invalid(ARM_HEADER, value, 'it must be champion or canary');
  if (value === 'canary' && canary === null)
    throw new SerinError('VERSION_NOT_FOUND', `"${route.model}" has no canary now`, { fields: { model: route.model } });
  return { arm: value };
}

function invalid(header: string, value: unknown, rule: string): SerinError {
  return new SerinError('INPUT_INVALID', `the header ${header} is ${JSON.stringify(value)}: ${rule}`, {
    fields: { field: header, rule },
  });
}
