// Variations as people write them: numbers and ranges between commas.

const MOST = 2_000; // variations of one range

/** `0-3, 7` as numbers; null for an empty text. Throws an Error that says what is wrong. */
export function parseVariations(text) {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  if (!parts.length) return null;
  return parts.flatMap((part) => {
    const [, low, high = low] = /^(\d{1,6})(?:\s*-\s*(\d{1,6}))?$/.exec(part) ?? [];
    const size = Number(high) - Number(low) + 1;
    if (low === undefined || size < 1 || size > MOST) {
      throw new Error(`Variations must be numbers or ranges such as 0-3; got “${part}”.`);
    }
    return Array.from({ length: size }, (_, offset) => Number(low) + offset);
  });
}
