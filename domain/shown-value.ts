const MAX_MEMBERS = 8;
const MAX_DEPTH = 2;

/**
 * A value of a client as messages show it: JSON, cut short. A client decides how deep and how long a value is, and
 * `JSON.stringify` ends in a stack overflow on the one and takes as long as it takes on the other.
 * @param maxLength of texts in it and of the whole, in UTF-16 code units
 */
export function shownValue(value: unknown, maxLength = 120): string {
  const text = written(value, maxLength, MAX_DEPTH);
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

function written(value: unknown, maxLength: number, depth: number): string {
  switch (typeof value) {
    case 'undefined':
      return 'missing';
    case 'string':
      return JSON.stringify(value.slice(0, maxLength));
    case 'object': {
      if (value === null) return 'null';
      if (Array.isArray(value)) {
        if (depth === 0 && value.length > 0) return '[…]';
        const parts = value.slice(0, MAX_MEMBERS).map((each) => written(each, maxLength, depth - 1));
        return `[${withMore(parts, value.length)}]`;
      }
      const names = Object.keys(value);
      if (depth === 0 && names.length > 0) return '{…}';
      const members = names.slice(0, MAX_MEMBERS).map((name) => {
        const member = written((value as Record<string, unknown>)[name], maxLength, depth - 1);
        return `${JSON.stringify(name.slice(0, maxLength))}:${member}`;
      });
      return `{${withMore(members, names.length)}}`;
    }
    default:
      return String(value);
  }
}

function withMore(parts: readonly string[], all: number): string {
  return [...parts, ...(all > parts.length ? ['…'] : [])].join(',');
}
