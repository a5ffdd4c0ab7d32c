/**
 * What parsing may make of a body. A list or an object costs dozens of bytes and the time to collect them, so that 60 MB of `{},`
 * held the event loop for half a minute and took 2 GB, and as many opening brackets 3 GB, before anything could be said about them.
 */
import { refusal } from './describe.ts';

/** Below, the worst that a body can be is parsed in a tenth of a second. */
const COUNTED_FROM_BYTES = 1 << 20;
/** Lists, objects and members of objects. Values in a flat list are not counted. */
const MAX_PARTS = 1_000_000;
const MAX_DEPTH = 100;

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [LIST, LIST_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Of a large body, before it is parsed. @throws SerinError INPUT_INVALID */
export function refuseCostlyJson(bytes: Uint8Array): void {
  if (bytes.length < COUNTED_FROM_BYTES) return;
  let parts = 0;
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]!) {
      case QUOTE:
        i = endOfText(bytes, i);
        break;
      case LIST:
      case OBJECT:
        parts++;
        if (++depth > MAX_DEPTH) throw refusal(`the body nests lists and objects deeper than ${MAX_DEPTH}`);
        break;
      case LIST_END:
      case OBJECT_END:
        depth--;
        break;
      case COLON:
        parts++;
        break;
      default:
    }
    if (parts > MAX_PARTS) {
      throw refusal(
        `the body has more than ${MAX_PARTS} lists, objects and members: send the values of a tensor as one flat list, or as binary data`,
      );
    }
  }
}

/** @param from its opening quote @returns its closing one, or the end of the bytes */
function endOfText(bytes: Uint8Array, from: number): number {
  let i = from + 1;
  while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i;
}
