/**
 * What our own code costs per query, without sockets, kernel and server: a session, a server link and a pool on wires that
 * take every byte and do nothing. A SELECT in transaction mode, so that the server changes hands each time.
 */
import pino from 'pino';
import { Pool } from '../../proxy/pool/pool.ts';
import type { Wire } from '../../proxy/relay/ports.ts';
import { ServerLink } from '../../proxy/relay/server-link.ts';
import { Session } from '../../proxy/relay/session.ts';
import { ParameterValues } from '../../proxy/server/parameters.ts';
import { ServerStatements, StatementStore } from '../../proxy/statements/store.ts';
import { bind, execute, parse, query, sync } from '../../proxy/wire/messages/requests.ts';
import { TrackedParameters } from '../../proxy/wire/parameters.ts';
import { Distribution } from '../../src/observe/distribution.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { median } from '../kit/samples.ts';

export interface SessionResult {
  readonly circumstances: Circumstances;
  /** Nanoseconds per query, median over the rounds. */
  readonly nanoseconds: Readonly<Record<'simple' | 'extended', number>>;
}

const rounds = 9;
const queries = 200_000;

class NowhereWire implements Wire {
  onBytes: (chunk: Buffer) => void = () => {};
  onClose: (error: Error | null) => void = () => {};
  onDrain: () => void = () => {};
  readonly closed = false;
  readonly pendingBytes = 0;
  written = 0;
  write(bytes: Uint8Array): void {
    this.written += bytes.length;
  }
  cork(): void {}
  uncork(): void {}
  pause(): void {}
  resume(): void {}
  retain(): void {}
  end(): void {}
  destroy(): void {}
}

const text = 'SELECT abalance FROM pgbench_accounts WHERE aid = ';
const rows = Buffer.from(
  'T\0\0\0!\0\x01abalance\0\0\0@\t\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\x01\0\0\0\x010C\0\0\0\rSELECT 1\0Z\0\0\0\x05I',
  'latin1',
);
const prepared = Buffer.from('1\0\0\0\x042\0\0\0\x04', 'latin1');

const conversations = {
  simple: { sent: query(`${text}57669;`), answered: rows },
  extended: {
    sent: Buffer.concat([parse('', `${text}$1;`), bind({ statement: '' }), execute(), sync]),
    answered: Buffer.concat([prepared, rows]),
  },
} as const;

export async function run(_: readonly string[], note: (line: string) => void): Promise<SessionResult> {
  const { client, server } = connected();
  const perQuery = { simple: 0, extended: 0 };
  for (const name of ['simple', 'extended'] as const) {
    const { sent, answered } = conversations[name];
    const times = Array.from({ length: rounds }, () => {
      const before = { client: client.written, server: server.written };
      const started = process.hrtime.bigint();
      for (let i = 0; i < queries; i++) {
        client.onBytes(sent);
        server.onBytes(answered);
      }
      const took = Number(process.hrtime.bigint() - started) / queries;
      const passed =
        server.written - before.server === queries * sent.length &&
        client.written - before.client === queries * answered.length;
      if (!passed) throw new Error('not every byte was passed on');
      return took;
    });
    perQuery[name] = Math.round(median(times));
    note(`${name.padEnd(9)} ${perQuery[name]} ns`);
  }
  return { circumstances: circumstances(), nanoseconds: perQuery };
}

/** A client and a server with everything between them that a query passes. */
function connected(): { client: NowhereWire; server: NowhereWire } {
  const client = new NowhereWire();
  const server = new NowhereWire();
  const tracked = new TrackedParameters();
  const reported = [
    ['client_encoding', 'UTF8'],
    ['DateStyle', 'ISO, MDY'],
    ['TimeZone', 'UTC'],
    ['standard_conforming_strings', 'on'],
    ['application_name', ''],
    ['IntervalStyle', 'postgres'],
  ] as const;
  const log = pino({ level: 'silent' });
  const bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10];
  const times = {
    wait: new Distribution(bounds),
    query: new Distribution(bounds),
    transaction: new Distribution(bounds),
  };
  const pool = new Pool({
    database: 'bench',
    user: 'bench',
    settings: {
      mode: 'transaction',
      size: 20,
      maxPreparedStatements: 200,
      resetQuery: null,
      connectQuery: null,
      queryWaitTimeoutMs: 120_000,
      serverLifetimeMs: 3_600_000,
      serverIdleTimeoutMs: 600_000,
      serverLoginRetryMs: 15_000,
    },
    // Never connected to: the one server there is comes from nowhere.
    target: {
      host: '127.0.0.1',
      port: 1,
      connectTimeoutMs: 1,
      database: 'bench',
      user: 'bench',
      credentials: null,
    },
    tracked,
    times,
    log,
    onClosed: () => {},
  });
  const link = new ServerLink(server, {
    processId: 1,
    secretKey: Buffer.alloc(4),
    parameters: new ParameterValues(tracked, reported),
    statements: new ServerStatements(200),
  });
  const session = new Session({
    client,
    source: pool,
    store: new StatementStore(1_048_576),
    renamesStatements: true,
    parameters: new ParameterValues(tracked, reported),
    refresh: null,
    ddl: null,
    log,
    onClosed: () => {},
  });
  pool.release(link, session);
  return { client, server };
}
