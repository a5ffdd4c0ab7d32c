import { specInvalid } from '../rollout/checked-fields.ts';
import { checkType } from './check-expression.ts';
import { ANY_TYPE, type Definitions, type Types, typesOf } from './definitions.ts';
import { checkDistinct, resolve } from './names.ts';
import { operandTypes } from './output-type.ts';
import type { LabelSpec, LabelWindowSpec } from './spec.ts';

export function checkLabel(label: LabelSpec, { sources }: Definitions): void {
  const path = `labels.${label.name}`;
  const columns = typesOf(resolve(label.source, sources, `${path}.source`, 'source').columns);
  const { window } = label;
  if (window === undefined) {
    checkType(label.of, columns, ['bool'], `${path}.of`);
    return;
  }
  checkType(label.of, columns, window.fn === 'any' ? ANY_TYPE : (operandTypes(window.fn) ?? ANY_TYPE), `${path}.of`);
  checkJoined(window, columns, `${path}.window`);
  const { censor } = window;
  if (censor === null) return;
  const at = `${path}.window.censor`;
  checkJoined(censor, typesOf(resolve(censor.source, sources, `${at}.source`, 'source').columns), at);
}

function checkJoined(
  { key, where }: Pick<LabelWindowSpec, 'key' | 'on' | 'where'>,
  columns: Types,
  path: string,
): void {
  checkDistinct(key, `${path}.key`, 'column');
  for (const [index, name] of key.entries()) {
    const type = resolve(name, columns, `${path}.key[${index}]`, 'column');
    if (type === 'f64')
      throw specInvalid(
        `${path}.key[${index}]`,
        name,
        'a key is a text, a whole number, a truth value or an instant; this column is f64',
      );
  }
  if (where !== null) checkType(where, columns, ['bool'], `${path}.where`);
}
