import { Registry } from 'prom-client';
import { afterEach, describe, expect, test } from 'vitest';
import { type HttpOptions, type HttpServer, startHttp } from '../../../../proxy/http/server.ts';

const open: HttpServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(
  options: Partial<HttpOptions> = {},
): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    register: new Registry(),
    ready: async () => ({ ok: true }),
    status: () => ({
      title: 'tview-proxy',
      sections: [
        {
          kind: 'facts',
          heading: 'Process',
          facts: [
            ['version', '1.0'],
            ['draining', false],
          ],
        },
        {
          kind: 'table',
          heading: 'Pools',
          columns: ['database', 'active'],
          rows: [['<script>alert(1)</script>', 3]],
        },
        { kind: 'table', heading: 'Errors', columns: ['message'], rows: [] },
      ],
    }),
    ...options,
  });
  open.push(server);
  return (path, init) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
}

describe('the HTTP side', () => {
  test('gives the registry’s metrics in its content type', async () => {
    const get = await serve({
      register: { contentType: 'text/plain; version=0.0.4', metrics: async () => 'up 1\n' },
    });
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(await answer.text()).toBe('up 1\n');
  });

  test('is healthy, and ready or not with the reason', async () => {
    let ready: HttpOptions['ready'] = async () => ({ ok: true });
    const get = await serve({ ready: () => ready() });
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    ready = async () => ({ ok: false, reason: 'draining' });
    const draining = await get('/readyz');
    expect([draining.status, await draining.text()]).toEqual([503, 'not ready: draining\n']);
    ready = () => Promise.reject(new Error('no server'));
    const failed = await get('/readyz');
    expect([failed.status, await failed.text()]).toEqual([503, 'not ready: no server\n']);
  });

  test('shows people the status, with names that others chose as text', async () => {
    const get = await serve();
    const page = await (await get('/')).text();
    expect(page).toContain('&lt;script&gt;');
    expect(page).not.toContain('<script>');
    const data = await (await get('/', { headers: { accept: 'application/json' } })).json();
    expect(data).toMatchObject({ title: 'tview-proxy' });
  });

  test('answers only what it has, and only to readers', async () => {
    const get = await serve();
    expect((await get('/nothing')).status).toBe(404);
    expect((await get('/metrics', { method: 'POST' })).status).toBe(405);
    const head = await get('/healthz', { method: 'HEAD' });
    expect([head.status, await head.text(), head.headers.get('content-length')]).toEqual([200, '', '3']);
  });

  test('survives a registry that fails', async () => {
    const get = await serve({
      register: { contentType: 'text/plain', metrics: () => Promise.reject(new Error('bug')) },
    });
    expect((await get('/metrics')).status).toBe(500);
    expect((await get('/healthz')).status).toBe(200);
  });

  test('says plainly that its port is taken', async () => {
    await serve();
    const { port } = open[0]!;
    await expect(serve({ port })).rejects.toMatchObject({
      message: `could not listen for HTTP on 127.0.0.1:${port}: the port is already in use`,
      hint: expect.stringContaining('another tview-proxy'),
    });
  });

  test('closes although a scraper keeps its connection', async () => {
    const get = await serve();
    await (await get('/healthz')).text();
    await open.pop()!.close();
    await expect(get('/healthz')).rejects.toThrow();
  });
});
