/**
 * Databases with their two roles, for one test after the other of a file: to make one takes longer than most tests. Whoever takes one gets it as
 * it was made, and that is looked at: one in which a test has left anything is dropped instead.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { inject } from 'vitest';
import { quoteIdentifier, quoteLiteral } from '../../src/database/identifier.ts';

/** A login of the database: the role's name, its password, its URL. */
export interface Login {
  readonly role: string;
  readonly password: string;
  readonly url: string;
}

export interface Place {
  readonly name: string;
  readonly owner: Login;
  readonly app: Login;
  readonly superuser: Login;
  /** What `stateOf` said of it when it was made. */
  readonly state: string;
}

const idle = new Map<string, Place[]>();

export async function takePlace(server: URL): Promise<Place> {
  return idle.get(server.href)?.pop() ?? (await makePlace(server));
}

/** As soon as nothing of the test is left in it, the next one gets it. */
export async function giveBack(server: URL, place: Place): Promise<void> {
  const state = await withClient(place.superuser.url, async (inside) => {
    // A proxy that outlives the test's database would find its way into the next one's.
    if (!(await isLeft(inside))) return null;
    await clean(inside, place);
    return await stateOf(inside, place);
  });
  if (state === place.state) idle.set(server.href, [...(idle.get(server.href) ?? []), place]);
  else await dropPlace(server, place);
}

export const dropPlace = (server: URL, { name, owner, app }: Place): Promise<void> =>
  withClient(server.href, (admin) => dropDatabase(admin, name, [owner.role, app.role]));

/** Those that the files of a run have kept, on a server that stays. */
export const dropPlacesOf = (url: string, runName: string): Promise<void> =>
  withClient(url, async (admin) => {
    const { rows } = await admin.query<{ name: string }>(
      'SELECT datname AS name FROM pg_catalog.pg_database WHERE datname ^@ $1',
      [`test_${runName}_`],
    );
    for (const { name } of rows) {
      const suffix = name.slice('test_'.length);
      await dropDatabase(admin, name, [`owner_${suffix}`, `app_${suffix}`]);
    }
  });

async function dropDatabase(admin: pg.Client, name: string, roles: readonly string[]): Promise<void> {
  await admin.query(`DROP DATABASE ${quoteIdentifier(name)} WITH (FORCE)`);
  for (const role of roles) await admin.query(`DROP ROLE ${quoteIdentifier(role)}`);
}

async function makePlace(server: URL): Promise<Place> {
  const suffix = `${inject('runName')}_${randomBytes(5).toString('hex')}`;
  const name = `test_${suffix}`;
  const login = (role: string, password: string): Login => {
    const url = new URL(server);
    url.username = encodeURIComponent(role);
    url.password = encodeURIComponent(password);
    url.pathname = `/${name}`;
    return { role, password, url: url.href };
  };
  const owner = login(`owner_${suffix}`, 'owner');
  const app = login(`app_${suffix}`, 'app');
  const superuser = login(decodeURIComponent(server.username), decodeURIComponent(server.password));
  await withClient(server.href, async (admin) => {
    for (const { role, password } of [owner, app]) {
      await admin.query(`CREATE ROLE ${quoteIdentifier(role)} LOGIN PASSWORD ${quoteLiteral(password)}`);
    }
    // Owning it is what the installing role has on a managed server: enough for our schema, no superuser.
    await admin.query(`CREATE DATABASE ${quoteIdentifier(name)} OWNER ${quoteIdentifier(owner.role)}`);
  });
  const place = { name, owner, app, superuser };
  const state = await withClient(superuser.url, async (inside) => {
    await clean(inside, place);
    return await stateOf(inside, place);
  });
  return { ...place, state };
}

/** Whether nobody else is connected, or about to be gone. */
async function isLeft(inside: pg.Client): Promise<boolean> {
  for (let tries = 0; tries < 20; tries++) {
    const { rows } = await inside.query(`
      SELECT FROM pg_catalog.pg_stat_activity
      WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'`);
    if (rows.length === 0) return true;
    await setTimeout(5);
  }
  return false;
}

/** `inside`: a superuser in the database. */
async function clean(inside: pg.Client, { name, owner, app }: Omit<Place, 'state'>): Promise<void> {
  const { rows } = await inside.query<{ gid: string }>(
    'SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()',
  );
  for (const { gid } of rows) await inside.query(`ROLLBACK PREPARED ${quoteLiteral(gid)}`);
  const [database, ...roles] = [name, owner.role, app.role].map(quoteIdentifier);
  await inside.query(`
    SET client_min_messages = 'error';
    ${roles.map((role) => `DROP OWNED BY ${role} CASCADE;`).join('\n    ')}
    DO $$
    DECLARE name text;
    BEGIN
      FOR name IN
        SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      LOOP
        EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', name);
      END LOOP;
    END $$;
    CREATE SCHEMA public AUTHORIZATION ${roles[0]};
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    ALTER DATABASE ${database} RESET ALL;
    ${roles.map((role) => `ALTER ROLE ${role} RESET ALL; ALTER ROLE ${role} IN DATABASE ${database} RESET ALL;`).join('\n')}`);
}

/** Catalogs in which a test can leave something of its own, and those whose entries have rights. */
const catalogs =
  `class proc type namespace extension event_trigger publication cast operator opclass opfamily collation conversion
  language foreign_data_wrapper foreign_server ts_config ts_dict am largeobject_metadata transform rewrite constraint trigger policy`.split(
    /\s+/,
  );
const withRights: Readonly<Record<string, string>> = {
  class: 'relacl',
  proc: 'proacl',
  type: 'typacl',
  language: 'lanacl',
  namespace: 'nspacl',
};
/** From here on oids are given to what is created. */
const firstOfUsers = 16_384;

async function stateOf(inside: pg.Client, { owner, app }: Omit<Place, 'state'>): Promise<string> {
  const counts = catalogs.map(
    (name) =>
      `SELECT '${name}', pg_catalog.count(*)::text FROM pg_catalog.pg_${name} WHERE oid >= ${firstOfUsers}`,
  );
  const rights = Object.entries(withRights).map(
    ([name, column]) =>
      `SELECT 'rights of ${name}', pg_catalog.md5(pg_catalog.string_agg(${column}::text, ' ' ORDER BY oid)) FROM pg_catalog.pg_${name}
       WHERE oid < ${firstOfUsers} OR '${name}' = 'namespace'`,
  );
  const roles = `ARRAY[${[owner, app].map(({ role }) => quoteLiteral(role)).join(', ')}]::regrole[]::oid[]`;
  const { rows } = await inside.query<{ what: string; state: string | null }>(`
    SELECT 'database' AS what, ROW(datdba, datallowconn, datconnlimit, datacl)::text AS state
    FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'role', ROW(rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
                       rolpassword, rolvaliduntil)::text
    FROM pg_catalog.pg_authid WHERE oid = ANY (${roles})
    UNION ALL
    SELECT 'member', ROW(roleid, member)::text FROM pg_catalog.pg_auth_members
    WHERE roleid = ANY (${roles}) OR member = ANY (${roles})
    UNION ALL
    SELECT 'setting', ROW(setdatabase, setrole, setconfig)::text FROM pg_catalog.pg_db_role_setting
    WHERE setrole = ANY (${roles})
       OR setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    UNION ALL
    SELECT 'default rights', ROW(defaclrole, defaclnamespace, defaclobjtype, defaclacl)::text FROM pg_catalog.pg_default_acl
    UNION ALL
    ${[...counts, ...rights].join('\n    UNION ALL\n    ')}
    ORDER BY 1, 2`);
  return rows.map(({ what, state }) => `${what} ${state}`).join('\n');
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
