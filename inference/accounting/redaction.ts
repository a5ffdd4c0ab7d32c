/** Takes personal data out of a record before it lies in any buffer. */
import type { LoggedPrediction } from '../../db/predictions.ts';
import { type PersonalValue, redactionToken } from '../../db/redaction.ts';
import type { Row } from '../../domain/project/expression.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { VersionSource } from '../model/version-loader.ts';
import type { RouteEntry } from '../routing/route-entry.ts';

/** What stands for a value whose token cannot be made; nothing finds it again. */
const LOST = 'pii:lost';
const GONE = '…';

/** An id or a field this long is not in another text by chance. */
const TELLING_LENGTH = 6;

const fieldsOf = new WeakMap<RouteEntry, ReadonlySet<string>>();

/** Request fields of a route that hold personal data, by any of the versions it has loaded: they take the same requests. */
export function personalFieldsOf(entry: RouteEntry): ReadonlySet<string> {
  let fields = fieldsOf.get(entry);
  if (fields === undefined) {
    fields = new Set(entry.loaded.flatMap((served) => served.personal.fields));
    fieldsOf.set(entry, fields);
  }
  return fields;
}

/** The personal field whose value a client has put into an id; ids are logged, answered and joined with outcomes as they are. */
export function personalFieldIn(entry: RouteEntry, id: string, request: Row): string | undefined {
  for (const name of personalFieldsOf(entry)) {
    const value = request[name];
    if (value === undefined || value === null || typeof value === 'boolean') continue;
    const text = String(value);
    if (id === text || (text.length >= TELLING_LENGTH && id.includes(text))) return name;
  }
  return undefined;
}

/** What a version says when it throws may quote a feature made of a personal value, in whatever form it had there. */
function shownError(entry: RouteEntry, { error, reason }: LoggedPrediction): string {
  const quotes = reason === 'error' && entry.loaded.some(({ personal }) => personal.features.length > 0);
  return quotes ? error!.replaceAll(NUMBER, GONE) : error!;
}

/** That stands alone: a version, `v2`, is a name. */
const NUMBER = /(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])/gi;

export class Redactor {
  readonly #readKey: () => Promise<string>;
  #key: string | undefined;

  /** @param readKey the key that makes tokens; asked until it answers */
  constructor(readKey: () => Promise<string>) {
    this.#readKey = readKey;
  }

  /** Versions of a model with personal data are loaded only when there is a key: no answer goes by without one. */
  guard(source: VersionSource): VersionSource {
    return {
      load: async (model, version) => {
        const loaded = await source.load(model, version);
        if (loaded.served.personal.fields.length > 0) this.#key ??= await this.#readKey();
        return loaded;
      },
    };
  }

  /**
   * The record without its personal data: request fields become tokens, and so does a unit that is not the prediction's id; the
   * features that carry such values are left out; values that an error quotes are replaced in it.
   * @param fields the instance as it was sent, with fields that other versions of the route read
   */
  redact(
    entry: RouteEntry,
    served: Pick<ServedVersion, 'featureNames' | 'personal'>,
    record: LoggedPrediction,
    fields: Readonly<Record<string, unknown>>,
  ): LoggedPrediction {
    const personal = personalFieldsOf(entry);
    if (personal.size === 0 && served.personal.features.length === 0) return record;
    const redacted: string[] = [];
    const request: Record<string, Row[string]> = { ...record.request };
    for (const name of personal) {
      const value = request[name];
      if (value === undefined || value === null) continue;
      request[name] = this.#token(value as PersonalValue);
      redacted.push(`request.${name}`);
    }
    const ownUnit = record.unit !== record.predictionId;
    if (ownUnit) redacted.push('unit');
    const features = record.features.map((value, i) => {
      const name = served.featureNames[i];
      if (value === null || name === undefined || !served.personal.features.includes(name)) return value;
      redacted.push(`features.${name}`);
      return null;
    });
    return {
      ...record,
      request: request as LoggedPrediction['request'],
      unit: ownUnit ? this.#token(record.unit) : record.unit,
      features,
      error:
        record.error === null ? null : this.#withoutValues(shownError(entry, record), personal, record.request, fields),
      redacted,
    };
  }

  #token(value: PersonalValue): string {
    return this.#key === undefined ? LOST : redactionToken(this.#key, value);
  }

  /** Numbers go where they stand alone: a version, `v2`, is no personal value of 2. */
  #withoutValues(
    error: string,
    fields: ReadonlySet<string>,
    ...rows: readonly Readonly<Record<string, unknown>>[]
  ): string {
    let text = error;
    for (const value of rows.flatMap((row) => [...fields].map((name) => row[name]))) {
      if (value === undefined || value === null || value === '') continue;
      if (typeof value === 'string') {
        text = text.replaceAll(JSON.stringify(value).slice(1, -1), GONE).replaceAll(value, GONE);
        continue;
      }
      const shown = (JSON.stringify(value) ?? '').replaceAll(/[^\w]/g, String.raw`\$&`);
      text = text.replaceAll(new RegExp(String.raw`(?<![\w.])${shown}(?![\w.])`, 'g'), GONE);
    }
    return text;
  }
}
