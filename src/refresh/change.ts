/**
 * A change as the database sends it (decision 004): read from a notice that anybody may forge, so nothing is kept that
 * is not exactly one of its forms, and turned into plain ASCII, so that it means the same whatever client_encoding is
 * when it is sent back.
 */

export interface Change {
  /** The source's id; null: what changed is in the queue. */
  readonly source: number | null;
  /** JSON in ASCII, as an element of `tviews.flush`'s first argument. */
  readonly text: string;
}

/** Tells a flush to take what this transaction has in the queue. */
export const QUEUED: Change = { source: null, text: '{"queued": true}' };

/** Every row of a source may have changed. */
export const everythingOf = (source: number): Change => ({ source, text: `{"s": ${source}, "all": true}` });

/**
 * @param message the notice's text, one character per byte of UTF-8
 * @returns null when it is no change of ours
 */
export function readChange(message: string): Change | null {
  const text = isAscii(message) ? message : inAscii(Buffer.from(message, 'latin1').toString('utf8'));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const { s: source, r: images, all, t: tviews, k: kept, queued, ...rest } = value as Record<string, unknown>;
  if (Object.keys(rest).length > 0) return null;
  if (queued !== undefined) return queued === true && Object.keys(value).length === 1 ? QUEUED : null;
  const isWhole = Array.isArray(images) ? all === undefined : images === undefined && all === true;
  if (!isWhole || !isId(source)) return null;
  if (tviews !== undefined && !(Array.isArray(tviews) && tviews.every(isId))) return null;
  if (kept !== undefined && kept !== true) return null;
  return { source, text };
}

const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;

// biome-ignore lint/suspicious/noControlCharactersInRegex: everything beyond ASCII is what is looked for
const isAscii = (text: string): boolean => /^[\x00-\x7f]*$/.test(text);

/** Characters beyond ASCII stand in JSON in strings only, where an escape means the same. */
const inAscii = (json: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
  json.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
