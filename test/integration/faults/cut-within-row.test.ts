/** PostgreSQL is lost within a row: the client must not read the error as the rest of the row. */
import { expect, onTestFinished, test } from 'vitest';
import { query } from '../../../proxy/wire/messages/requests.ts';
import { freshDatabase } from '../../kit/database.ts';
import { startFlakyNetwork } from '../../kit/flaky-network.ts';
import { testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

for (const poolMode of ['transaction', 'session'] as const) {
  test(`in ${poolMode} mode`, async () => {
    const database = await freshDatabase();
    onTestFinished(() => database.drop());
    const network = await startFlakyNetwork(database);
    onTestFinished(() => network.close());
    const proxy = await testProxy({ ...database, host: network.host, port: network.port }, { poolMode });
    // Through the header of the row, its value, and what stands behind it.
    for (let missing = 0; missing <= 60; missing += 6) {
      const client = await RawClient.connect(proxy.url(database.app));
      let length = 0;
      const isRow = (packet: Buffer): boolean => {
        length = packet.length;
        return packet.includes('wwww');
      };
      // Its length is known only from seeing it go by.
      const cut = network.cut({
        matches: isRow,
        answer: true,
        get bytes() {
          return length - missing;
        },
      });
      client.send(query("SELECT repeat('w', 40)"));
      await cut;
      const rows = shown(await client.untilEnd()).filter((message) => message.startsWith('D'));
      for (const row of rows) expect(row).toBe(`D(000100000028${'77'.repeat(40)})`);
    }
  });
}
