/** The HTTP side: /metrics for Prometheus, /healthz and /readyz for whoever restarts or routes, / for people. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import { renderStatus, type StatusPage } from './status-page.ts';

export interface Readiness {
  readonly ok: boolean;
  /** Why not, as a short sentence. */
  readonly reason?: string;
}

export interface HttpOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** A prom-client registry. */
  readonly register: { readonly contentType: string; metrics(): Promise<string> };
  ready(): Promise<Readiness>;
  status(): StatusPage | Promise<StatusPage>;
  readonly log?: { error(fields: object, message: string): void };
}

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  /** Lets answers under way finish, then closes. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const HTML = 'text/html; charset=utf-8';

/** @throws TviewsError when the address cannot be listened on. */
export function startHttp(options: HttpOptions): Promise<HttpServer> {
  const server = createServer(
    // Scrapers and probes send a line and a few headers; whoever sends slowly is none.
    { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 5_000, maxHeaderSize: 8_192 },
    (request, response) => void respond(request, response, options),
  );
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(options, error)));
    server.listen(options.port, options.host, () => {
      server.removeAllListeners('error');
      server.on('error', (error) => options.log?.error({ err: error }, 'http server failed'));
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.port;
      resolve({ host: options.host, port, close: () => close(server) });
    });
  });
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpOptions,
): Promise<void> {
  let answer: Answer;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    answer = { status: 405, type: TEXT, body: 'method not allowed\n' };
  } else {
    try {
      answer = await route(request, options);
    } catch (error) {
      options.log?.error({ err: error, url: request.url }, 'http request failed');
      answer = { status: 500, type: TEXT, body: 'internal error, see the log\n' };
    }
  }
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'Content-Type': answer.type,
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function route(request: IncomingMessage, options: HttpOptions): Promise<Answer> {
  const [path] = (request.url ?? '/').split('?');
  switch (path) {
    case '/metrics':
      return { status: 200, type: options.register.contentType, body: await options.register.metrics() };
    case '/healthz':
      // That this is answered is the news: the event loop turns.
      return { status: 200, type: TEXT, body: 'ok\n' };
    case '/readyz':
      return readiness(options);
    case '/': {
      const page = await options.status();
      return (request.headers.accept ?? '').includes('application/json')
        ? { status: 200, type: 'application/json; charset=utf-8', body: `${JSON.stringify(page)}\n` }
        : { status: 200, type: HTML, body: renderStatus(page) };
    }
    default:
      return { status: 404, type: TEXT, body: 'not found: there are /, /metrics, /healthz and /readyz\n' };
  }
}

async function readiness(options: HttpOptions): Promise<Answer> {
  let state: Readiness;
  try {
    state = await options.ready();
  } catch (error) {
    // A check that fails is an answer: not ready.
    options.log?.error({ err: error }, 'readiness check failed');
    state = { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
  return state.ok
    ? { status: 200, type: TEXT, body: 'ok\n' }
    : { status: 503, type: TEXT, body: `not ready: ${state.reason ?? 'no reason given'}\n` };
}

function listenError({ host, port }: HttpOptions, error: Error): TviewsError {
  const code = 'code' in error ? error.code : undefined;
  const reason =
    code === 'EADDRINUSE'
      ? 'the port is already in use'
      : code === 'EACCES'
        ? 'permission denied'
        : error.message;
  return new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `could not listen for HTTP on ${host}:${port}: ${reason}`,
    {
      hint:
        code === 'EADDRINUSE'
          ? 'Is another tview-proxy running? Otherwise choose another port for metrics.'
          : 'Choose another address or port for metrics.',
      cause: error,
    },
  );
}

function close(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    // A scraper keeps its connection open between scrapes: it would hold the server open for ever.
    server.closeIdleConnections();
  });
}
