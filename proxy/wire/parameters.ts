/**
 * Which session parameters follow a client from server to server: those PostgreSQL reports (ParameterStatus), so that
 * we always know their values. PgBouncer's list and its `track_extra_parameters`.
 */
const ALWAYS_TRACKED = [
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'standard_conforming_strings',
  'application_name',
];

/** Default of `track_extra_parameters`. */
export const DEFAULT_EXTRA_PARAMETERS: readonly string[] = ['IntervalStyle'];

export class TrackedParameters {
  /** Names as PostgreSQL spells them; a parameter's place in here is its index everywhere else. */
  readonly names: readonly string[];
  readonly #indexes = new Map<string, number>();

  constructor(extra: Iterable<string> = DEFAULT_EXTRA_PARAMETERS) {
    const names: string[] = [];
    for (const name of [...ALWAYS_TRACKED, ...extra]) {
      // Parameter names are case-insensitive in PostgreSQL.
      const folded = name.toLowerCase();
      if (folded === '' || this.#indexes.has(folded)) continue;
      this.#indexes.set(folded, names.length);
      names.push(name);
    }
    this.names = names;
  }

  /** -1: not tracked. */
  indexOf(name: string): number {
    return this.#indexes.get(name) ?? this.#indexes.get(name.toLowerCase()) ?? -1;
  }

  /** The name as PostgreSQL spells it; null: not tracked. */
  canonical(name: string): string | null {
    return this.names[this.indexOf(name)] ?? null;
  }
}
