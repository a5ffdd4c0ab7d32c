/** FNV-1a (32 bits) of a text's UTF-16 units: tells layouts of state apart, not adversaries. */
export function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
