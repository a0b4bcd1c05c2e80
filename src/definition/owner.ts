/**
 * Whose views and types a definition may use. What a view says, what a domain checks and how a type is cast to json can be
 * changed by its owner at any time later, and runs with the rights of the tview's owner: so only who has these already.
 */
import { refuse } from './refuse.ts';

/**
 * SQL: whether the role `owner` lacks rights of the role that applies. Not the other way round: a superuser has the rights
 * of every owner, and is the one who must not run their code. The database's owner is trusted with everything in it.
 */
export function strangerSql(owner: string): string {
  return `(NOT pg_catalog.pg_has_role(${owner}, current_user, 'MEMBER') AND ${owner} <> (
             SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))`;
}

export interface Owned {
  /** The name after ALTER VIEW, TYPE or DOMAIN. */
  readonly name: string;
  readonly owner: string;
  readonly applier: string;
}

export function refuseStranger(kind: 'VIEW' | 'TYPE' | 'DOMAIN', { name, owner, applier }: Owned): never {
  return refuse(
    `${kind.toLowerCase()} ${name} belongs to role ${owner}`,
    `What ${owner} makes of it later would run with the rights of ${applier}, which ${owner} does not have.`,
    `Run ALTER ${kind} ${name} OWNER TO ${applier}, or ${
      kind === 'VIEW' ? 'read the tables below it' : 'use a type of your own or of PostgreSQL'
    }.`,
  );
}
