/** What is wrong with a configuration, and where: each problem names file, line and column, or the environment variable. */
import { SqlState, TviewsError } from '../errors/errors.ts';

/** A place in a file, lines and columns from 1; an environment variable has only a name. */
export type Place =
  | { readonly kind: 'file'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: 'environment'; readonly variable: string }
  | { readonly kind: 'nowhere' };

export interface Problem {
  readonly place: Place;
  readonly message: string;
  readonly hint?: string | undefined;
}

export function printPlace(place: Place): string {
  switch (place.kind) {
    case 'file':
      return `${place.file}:${place.line}:${place.column}`;
    case 'environment':
      return place.variable;
    case 'nowhere':
      return 'configuration';
  }
}

/** A place further right in the same line. */
export function columnsOn(place: Place, columns: number): Place {
  return place.kind === 'file' ? { ...place, column: place.column + columns } : place;
}

/** A configuration nobody should start with. Carries every problem; the message is the first one's. */
export class ConfigError extends TviewsError {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly [Problem, ...Problem[]]) {
    const [first, ...others] = problems;
    super(SqlState.configFileError, `${printPlace(first.place)}: ${first.message}`, {
      detail:
        others.length > 0 ? `There are ${others.length} more problems in the configuration.` : undefined,
      hint: first.hint,
    });
    this.problems = problems;
  }
}
