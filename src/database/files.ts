/** The static SQL, read from its files once. */
import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('./sql/', import.meta.url);

export const readSql = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

/** A file read when it is first needed. */
export function sqlFile(name: string): () => string {
  let text: string | undefined;
  return () => {
    text ??= readSql(name);
    return text;
  };
}

export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
}

export function readMigrations(): Migration[] {
  return readdirSync(new URL('migrations/', folder))
    .filter((name) => /^\d{6}\.sql$/.test(name))
    .sort()
    .map((name) => ({ number: Number.parseInt(name, 10), name, sql: readSql(`migrations/${name}`) }));
}
