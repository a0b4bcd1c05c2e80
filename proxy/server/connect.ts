/** The connection to a server, before a word is said. */
import { WireSocket } from '../wire/socket.ts';
import { type ServerAddress, ServerLoginError, socketAddress } from './target.ts';

/** @throws ServerLoginError of kind timeout or unreachable; nothing is left open then. */
export async function connectTo(target: ServerAddress): Promise<WireSocket> {
  try {
    return await WireSocket.connect(socketAddress(target), target.connectTimeoutMs);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ETIMEDOUT')
      throw ServerLoginError.timeout(target);
    throw ServerLoginError.unreachable(target, error);
  }
}
