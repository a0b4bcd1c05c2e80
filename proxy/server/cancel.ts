/**
 * Forwards a cancel request: on a connection of its own, whose end says that the signal was sent (manual:
 * "Canceling Requests in Progress").
 */
import { cancelRequest } from '../wire/messages/startup.ts';
import { connectTo } from './connect.ts';
import { type ServerAddress, ServerLoginError } from './target.ts';

/**
 * Resolves when the server has closed the connection: from then on the signal can hit no later query, and the server
 * connection may be given to somebody else.
 * @throws ServerLoginError when the server was not reached, or did not close in time: then nobody knows whether the
 * signal is still to come, and the connection it was meant for should not be reused.
 */
export async function sendCancel(target: ServerAddress, pid: number, secret: Buffer): Promise<void> {
  const deadline = Date.now() + target.connectTimeoutMs;
  const wire = await connectTo(target);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => {
        wire.onClose = () => {};
        wire.destroy();
        reject(ServerLoginError.timeout(target));
      },
      Math.max(1, deadline - Date.now()),
    );
    // A reset is an end too: PostgreSQL reads nothing after the request and may close with our bytes unread.
    wire.onClose = () => {
      clearTimeout(timer);
      resolve();
    };
    wire.write(cancelRequest(pid, secret));
  });
}
