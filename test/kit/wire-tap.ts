/** A tap between proxy and PostgreSQL: passes everything on and notes the messages of both sides in their order. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface TappedMessage {
  /** `>` to the server, `<` from it. */
  readonly direction: '>' | '<';
  readonly type: string;
  readonly body: Buffer;
  /** Counts the writes seen: messages of one number came in one piece. */
  readonly piece: number;
}

export interface WireTap {
  readonly port: number;
  /** Everything since the last call, over all connections of the role. */
  take(): TappedMessage[];
}

/** @param role whose connections are listened to: a proxy has others of its own */
export async function wireTap(host: string, port: number, role: string): Promise<WireTap> {
  let messages: TappedMessage[] = [];
  let pieces = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host, port, noDelay: true });
    let isHeard = false;
    for (const [from, to, direction] of [
      [client, upstream, '>'],
      [upstream, client, '<'],
    ] as const) {
      sockets.add(from);
      // The startup packet has no type byte.
      let buffer = Buffer.alloc(0);
      let started = direction === '<';
      from.on('data', (chunk: Buffer) => {
        pieces += 1;
        to.write(chunk);
        buffer = Buffer.concat([buffer, chunk]);
        if (!started && buffer.length >= 4 && buffer.length >= buffer.readUInt32BE(0)) {
          const length = buffer.readUInt32BE(0);
          isHeard = buffer.subarray(0, length).includes(`\0user\0${role}\0`);
          buffer = buffer.subarray(length);
          started = true;
        }
        while (started && buffer.length >= 5 && buffer.length >= 1 + buffer.readUInt32BE(1)) {
          const next = 1 + buffer.readUInt32BE(1);
          const type = String.fromCharCode(buffer[0]!);
          if (isHeard) {
            messages.push({ direction, type, body: Buffer.from(buffer.subarray(5, next)), piece: pieces });
          }
          buffer = buffer.subarray(next);
        }
      });
      from.on('error', () => {}); // 'close' follows
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    take: () => {
      const taken = messages;
      messages = [];
      return taken;
    },
  };
}

/** How often the talk changed sides: each `>` behind a `<` is one more round trip. */
export function roundTrips(messages: readonly TappedMessage[]): number {
  let trips = 0;
  for (const [index, { direction }] of messages.entries()) {
    if (direction === '>' && messages[index - 1]?.direction !== '>') trips += 1;
  }
  return trips;
}
