/**
 * A network that fails where a test says: a TCP relay to put between the proxy and PostgreSQL. It can hold new
 * connections up or refuse them, and cut one after so many bytes of a certain packet.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Cut {
  /** The packet that is meant, as it arrives from the proxy. */
  matches(packet: Buffer): boolean;
  /** So many bytes of it get through; with the whole packet through, only the answer is lost. */
  readonly bytes: number;
}

export interface FlakyNetwork {
  readonly host: string;
  readonly port: number;
  /** Cuts the connection that next sends such a packet; resolves to the packet when it has happened. */
  cut(cut: Cut): Promise<Buffer>;
  /** Connections made from now on are accepted, and nothing of them arrives until letGo(). */
  holdNewConnections(): void;
  letGo(): void;
  /** Connections held up now. */
  readonly held: number;
  /** Connections made from now on are closed at once. */
  refuseNewConnections(): void;
  /** So many have been. */
  readonly refused: number;
  close(): Promise<void>;
}

export async function startFlakyNetwork(
  target: { readonly host: string; readonly port: number },
  listenPort = 0,
): Promise<FlakyNetwork> {
  const sockets = new Set<Socket>();
  let armed: (Cut & { readonly happened: (packet: Buffer) => void }) | null = null;
  let holding = false;
  let refusing = false;
  let refused = 0;
  const heldUp: (() => void)[] = [];

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.setNoDelay();
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // 'close' follows, and closes the other side
  };

  const join = (near: Socket): void => {
    const far = connect(target.port, target.host);
    keep(far);
    let isCut = false;
    near.on('data', (packet: Buffer) => {
      if (isCut) return;
      if (armed === null || !armed.matches(packet)) {
        far.write(packet);
        return;
      }
      const { bytes, happened } = armed;
      armed = null;
      isCut = true;
      // The bytes arrive and then the end, not a reset that would take them back out of the server's buffer.
      far.end(packet.subarray(0, bytes));
      near.destroy();
      happened(packet);
    });
    far.on('data', (packet) => {
      if (!isCut) near.write(packet);
    });
    near.on('end', () => far.end());
    near.on('close', () => {
      if (!isCut) far.destroy();
    });
    far.on('end', () => near.end());
    far.on('close', () => near.destroy());
  };

  const server = createServer((near) => {
    keep(near);
    if (refusing) {
      refused += 1;
      near.destroy();
    } else if (holding) heldUp.push(() => join(near));
    else join(near);
  });
  server.listen(listenPort, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    host: '127.0.0.1',
    port,
    cut: (cut) =>
      new Promise((happened) => {
        armed = { ...cut, happened };
      }),
    holdNewConnections: () => {
      holding = true;
    },
    letGo: () => {
      holding = false;
      for (const go of heldUp.splice(0)) go();
    },
    get held() {
      return heldUp.length;
    },
    refuseNewConnections: () => {
      refusing = true;
    },
    get refused() {
      return refused;
    },
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
