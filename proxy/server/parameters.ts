/**
 * Tracked parameters (PgBouncer: varcache): the values a client wants, the values a server has, and the SET text that
 * makes the second match the first when the two are linked.
 */
import { quoteIdentifier, quoteLiteral } from '../../src/database/identifier.ts';
import type { TrackedParameters } from '../wire/parameters.ts';

/**
 * The values of one session, a client's or a server's. They are held in arrays that are never changed, only replaced,
 * and shared once found equal: the comparison at each link is then one comparison of references.
 */
export class ParameterValues {
  readonly tracked: TrackedParameters;
  /** By the index of the parameter; null: unknown (server) or nothing wanted (client). */
  #values: readonly (string | null)[];

  constructor(tracked: TrackedParameters, initial: Iterable<readonly [name: string, value: string]> = []) {
    this.tracked = tracked;
    this.#values = tracked.names.map(() => null);
    for (const [name, value] of initial) this.learn(name, value);
  }

  get(name: string): string | null {
    return this.#values[this.tracked.indexOf(name)] ?? null;
  }

  /** Takes a ParameterStatus in. Says whether the parameter is a tracked one. */
  learn(name: string, value: string): boolean {
    const index = this.tracked.indexOf(name);
    if (index < 0) return false;
    if (this.#values[index] !== value) this.#values = this.#values.with(index, value);
    return true;
  }

  /** What a client did not ask for it has as the server gave it at login, and wants to keep on other servers. */
  fillUnset(from: ParameterValues): void {
    if (this.#values.includes(null))
      this.#values = this.#values.map((value, index) => value ?? from.#values[index]!);
  }

  /**
   * After a link's SETs were answered, and whenever a linked server reported a change: the client's values become the
   * server's, in the server's spelling. Without it `ISO` would be SET for ever on servers that report `ISO, MDY`.
   * What the server does not report stays as the client wanted it.
   */
  adopt(server: ParameterValues): void {
    if (this.#values === server.#values) return;
    this.#values = server.#values.includes(null)
      ? server.#values.map((value, index) => value ?? this.#values[index]!)
      : server.#values;
  }

  /**
   * The text of the Query that gives `server` the values wanted here; null when it has them.
   * Hot path: runs at each link of a client to a server. Budget: one comparison when the two shared values before, one
   * comparison per parameter when they are equal but not shared yet.
   */
  difference(server: ParameterValues): string | null {
    const wanted = this.#values;
    const current = server.#values;
    if (wanted === current) return null;
    let text = '';
    let same = true;
    for (let index = 0; index < wanted.length; index++) {
      const value = wanted[index]!;
      if (value === current[index]) continue;
      same = false;
      if (value !== null) text += setStatement(this.tracked.names[index]!, value);
    }
    if (same) this.#values = current;
    return text === '' ? null : text;
  }
}

function setStatement(name: string, value: string): string {
  // An extension's parameter has a prefix: "pg_trgm"."similarity_threshold".
  const target = name.split('.').map(quoteIdentifier).join('.');
  return `SET ${target}=${isNameList(name) ? nameList(value) : settingLiteral(value)};`;
}

/** PostgreSQL's GUC_LIST_QUOTE parameters that can be set in a session: their value is a list of identifiers. */
function isNameList(name: string): boolean {
  return /^(?:search_path|temp_tablespaces|local_preload_libraries|session_preload_libraries)$/i.test(name);
}

/**
 * A list of names, `"$user", public`, as SET takes it: one literal for each name. In one literal it would be a single
 * name with a comma in it; and it comes from a startup packet, so it is never put into SQL as it stands.
 */
function nameList(value: string): string {
  const names: string[] = [];
  const element = /\s*(?:"((?:[^"]|"")*)"|([^\s,"]+))\s*(,|$)/y;
  for (let more = value.trim() !== ''; more; ) {
    const match = element.exec(value);
    // No list PostgreSQL would take; as one literal it can do no harm and the server says what is wrong with it.
    if (match === null) return settingLiteral(value);
    names.push(match[1] !== undefined ? match[1].replaceAll('""', '"') : match[2]!.toLowerCase());
    more = match[3] === ',';
  }
  return names.length === 0 ? "''" : names.map(settingLiteral).join(',');
}

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;

/**
 * A literal in nothing but ASCII. Its text is read in whatever client_encoding the server's last client had: in SJIS,
 * BIG5 or GBK a byte of a UTF-8 character can swallow the backslash or quote behind it and end the literal early.
 */
function settingLiteral(value: string): string {
  if (PRINTABLE_ASCII.test(value)) return quoteLiteral(value).trimStart();
  let text = '';
  for (const character of value) {
    const code = character.codePointAt(0)!;
    if (character === "'" || character === '\\') text += character + character;
    else if (code >= 0x20 && code <= 0x7e) text += character;
    else if (code <= 0xffff) text += `\\u${code.toString(16).padStart(4, '0')}`;
    else text += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return `E'${text}'`;
}
