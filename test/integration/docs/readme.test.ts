/** Holds the documents to the program: what they name exists, and what README shows in psql is what one gets. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addProxy } from '../../../proxy/command.ts';
import { addDemo } from '../../../proxy/demo.ts';
import { applyPaths } from '../../../src/cli/apply-files.ts';
import { createShop, fillShop, shopDefinitions } from '../../../src/cli/demo/shop.ts';
import { buildProgram } from '../../../src/cli/program.ts';
import { notYetDatabase, notYetPgbouncer, notYetUser } from '../../../src/config/known.ts';
import {
  databaseKeys,
  environmentName,
  pgbouncerSettings,
  tviewsSettings,
  userKeys,
} from '../../../src/config/settings.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { declarations } from '../../../src/observe/declarations.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { testProxy } from '../../kit/proxy.ts';

const root = join(import.meta.dirname, '../../..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const documents: readonly string[] = [
  'README.md',
  'CHANGELOG.md',
  ...['docs', 'docs/decisions'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`),
  ),
];
const readme = read('README.md');

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(read('package.json')) as Manifest;

/** What stands in `code`, and the lines of shell blocks. */
function code(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, body]) => body!.split('\n'));
  const inline = [...text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`\n]+)`/g)];
  return [...blocks, ...inline.map(([, inside]) => inside!)];
}

/** The words of a list in the text that follow each match, without doubles. */
function found(text: string, pattern: RegExp): string[] {
  return [...new Set(code(text).flatMap((piece) => [...piece.matchAll(pattern)].map(([, word]) => word!)))];
}

describe.each(documents)('%s', (document) => {
  const text = read(document);

  test('names only subcommands that exist', () => {
    const program = buildProgram();
    addProxy(program);
    addDemo(program);
    const known = program.commands.map((command) => command.name());
    // What limits.md lists as not there yet must not be there: the list is not to outlive its contents.
    const [present, absent = ''] = text.split(/^## Not there yet$/m);
    const pattern = /^(?:npx )?tviews ([a-z][a-z-]+)(?![\w.(-])/g;
    expect(known).toEqual(expect.arrayContaining(found(present!, pattern)));
    expect(found(absent, pattern).filter((name) => known.includes(name))).toEqual([]);
  });

  test('names only npm scripts that exist', () => {
    const scripts = ['ci', ...Object.keys(manifest.scripts)];
    expect(scripts).toEqual(expect.arrayContaining(found(text, /\bnpm (?:run )?([a-z][a-z:]*)/g)));
  });

  test('names only metrics that exist', () => {
    const known: string[] = Object.values(declarations).map(({ name }) => name);
    const named = found(text, /^(tviews_[a-z_]+)/g);
    expect(known).toEqual(expect.arrayContaining(named));
  });

  test('names only settings that exist', () => {
    const settings = { ...pgbouncerSettings, ...tviewsSettings, ...databaseKeys, ...userKeys };
    const known = new Set([...Object.keys(settings), ...notYetPgbouncer, ...notYetDatabase, ...notYetUser]);
    const environment = Object.keys({ ...pgbouncerSettings, ...tviewsSettings }).map(environmentName);
    expect(environment).toEqual(expect.arrayContaining(text.match(/\bTVIEWS_[A-Z_]+(?!\w*<)\b/g) ?? []));
    // Words with an underscore that stand alone in code: settings, or what the database and this project call so.
    const others =
      /^(?:tviews_|tv_|v_|pk_|tb_|pg_|jsonb_|client_(?:encoding|min_messages)$|full_refresh\b|session_replication_role$|current_user$|search_path$)/;
    const migrations = 'src/database/sql/migrations';
    const inDatabase = readdirSync(join(root, migrations))
      .map((file) => read(join(migrations, file)))
      .join('\n');
    const unknown = found(text, /^([a-z]+(?:_[a-z]+)+)(?: = .*)?$/g).filter(
      (name) => !known.has(name) && !others.test(name) && !inDatabase.includes(`'${name}'`),
    );
    expect(unknown).toEqual([]);
  });

  test('has no relative link that leads nowhere', () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!);
    const broken = links.filter(
      (target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(document), target)),
    );
    expect(broken).toEqual([]);
  });
});

test('README says of every dependency why it is there, and of none that is not', () => {
  const [, table = ''] = /^### Dependencies, and why\n([\s\S]*?)^MIT/m.exec(readme) ?? [];
  const rows = [...table.matchAll(/^\| (`.*) \|.+\|$/gm)];
  const named = rows
    .flatMap(([, first]) => [...first!.split(' |')[0]!.matchAll(/`([^`]+)`/g)])
    .map(([, name]) => name!);
  const installed = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];
  expect(named.toSorted()).toEqual(installed.toSorted());
});

test('README does not call a setting supported that is refused', () => {
  const [, supported = ''] =
    /\*\*If you run PgBouncer\*\*([\s\S]*?)What we do not have yet/.exec(readme) ?? [];
  const named = found(supported, /^([a-z]+_[a-z_]+[a-z])$/g);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => notYetPgbouncer.has(name))).toEqual([]);
});

describe('the psql session in README', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
    const owner = executorOf(await database.client());
    await init(owner);
    await createShop(owner);
    await fillShop(owner, '1k');
    await applyPaths(owner, [shopDefinitions]);
  });
  afterAll(() => database.drop());

  test('gives in the demo, through the proxy, what is shown', async () => {
    const [, shown] = /^```psql\n([\s\S]*?)^```$/m.exec(readme)!;
    const proxy = await testProxy(database);
    const client = new pg.Client({ connectionString: proxy.url(database.owner) });
    await client.connect();
    try {
      let session = '';
      let status = '';
      for (const [, statement] of shown!.matchAll(/^shop=\*?> (.*)$/gm)) {
        const result = await client.query<string[]>({ text: statement!, rowMode: 'array' });
        session += `shop=${status}> ${statement}\n${asPsqlPrints(result)}`;
        if (result.command === 'BEGIN') status = '*';
        if (result.command === 'ROLLBACK' || result.command === 'COMMIT') status = '';
      }
      expect(session).toBe(shown);
      expect(proxy.metrics.totals.rows, 'rows the proxy has flushed').toBeGreaterThan(0);
    } finally {
      await client.end();
    }
  });
});

const numbers = new Set([20, 21, 23, 700, 701, 1700]);

/** The aligned format: heads centred, numbers to the right, an empty line behind a table. */
function asPsqlPrints({ command, rowCount, fields, rows }: pg.QueryArrayResult<string[]>): string {
  if (command !== 'SELECT') return `${command}${/^[BCR]/.test(command) ? '' : ` ${rowCount}`}\n`;
  const widths = fields.map(({ name }, i) =>
    Math.max(name.length, ...rows.map((row) => String(row[i]).length)),
  );
  const centred = (name: string, width: number): string =>
    name.padStart(name.length + Math.floor((width - name.length) / 2)).padEnd(width);
  const line = (cells: readonly string[]): string => ` ${cells.join(' | ')}`;
  return [
    `${line(fields.map(({ name }, i) => centred(name, widths[i]!)))} `,
    widths.map((width) => '-'.repeat(width + 2)).join('+'),
    ...rows.map((row) =>
      line(
        row.map((value, i) => {
          if (numbers.has(fields[i]!.dataTypeID)) return String(value).padStart(widths[i]!);
          return i === row.length - 1 ? String(value) : String(value).padEnd(widths[i]!);
        }),
      ),
    ),
    `(${rows.length} row${rows.length === 1 ? '' : 's'})`,
    '',
    '',
  ].join('\n');
}
