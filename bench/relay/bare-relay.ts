/**
 * The least a relay in Node can be: a server connection for each client, bytes passed on as they come, message headers
 * looked at and nothing done about them. No pool, no names, no claims. What it costs is Node's and the kernel's, and no
 * proxy written on Node's sockets can cost less. `node bench/relay/bare-relay.ts PORT SERVER_PORT`
 */
import { connect, createServer } from 'node:net';

const [port, serverPort] = process.argv.slice(2).map(Number);
const READ_BUFFER_BYTES = 65_536;

function scan(chunk: Uint8Array): void {
  const bytes = chunk as Buffer;
  for (let at = 0; bytes.length - at >= 5; ) at += 1 + bytes.readUInt32BE(at + 1);
}

createServer({ noDelay: true }, (client) => {
  const server = connect({
    port: serverPort!,
    host: '127.0.0.1',
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
      callback: (length, buffer) => {
        const chunk = buffer.subarray(0, length);
        scan(chunk);
        client.write(chunk);
        return true;
      },
    },
  });
  client.on('data', (chunk: Buffer) => {
    scan(chunk);
    server.write(chunk);
  });
  // A side that breaks ends the other: 'close' follows each 'error'.
  client.on('error', () => {});
  server.on('error', () => {});
  client.on('close', () => server.destroy());
  server.on('close', () => client.destroy());
}).listen(port, '127.0.0.1');
