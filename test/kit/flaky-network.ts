/**
 * A network that fails where a test says: a TCP relay to put between the proxy and PostgreSQL. It can hold new
 * connections up or refuse them, and cut one after so many bytes of a certain packet.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Cut {
  /** The packet that is meant, as it arrives: from whoever connected, or with `answer` from the other side. */
  matches(packet: Buffer): boolean;
  readonly answer?: boolean;
  /** So many bytes of it get through; with the whole packet through, only the answer is lost. */
  readonly bytes: number;
}

export interface FlakyNetwork {
  readonly host: string;
  readonly port: number;
  /** Cuts the connection that next sends such a packet; resolves to the packet when it has happened. */
  cut(cut: Cut): Promise<Buffer>;
  /** Takes a cut back that has not happened. */
  disarm(): void;
  /** Cuts every connection there is, at once. @returns how many */
  sever(): number;
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
  const joined = new Set<Socket>();
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
    joined.add(near);
    let isCut = false;
    const pass = (from: Socket, to: Socket, answer: boolean): void => {
      from.on('data', (packet: Buffer) => {
        if (isCut) return;
        if (armed === null || (armed.answer ?? false) !== answer || !armed.matches(packet)) {
          to.write(packet);
          return;
        }
        const { bytes, happened } = armed;
        armed = null;
        isCut = true;
        // The bytes arrive and then the end, not a reset that would take them back out of the receiver's buffer.
        to.end(packet.subarray(0, bytes));
        from.destroy();
        happened(packet);
      });
      from.on('end', () => to.end());
    };
    pass(near, far, false);
    pass(far, near, true);
    near.on('close', () => {
      joined.delete(near);
      if (!isCut) far.destroy();
    });
    far.on('close', () => {
      if (!isCut) near.destroy();
    });
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
    disarm: () => {
      armed = null;
    },
    sever: () => {
      const { size } = joined;
      for (const near of joined) near.destroy();
      return size;
    },
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
