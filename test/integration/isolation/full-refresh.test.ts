/** Definitions of which a change may reach every row: who computes all of them is alone, at every level. */
import { checkShapes } from './check.ts';
import { claimed, writer } from './shape.ts';

const prices = `
  CREATE TABLE tb_price (id int PRIMARY KEY, amount int NOT NULL);
  CREATE TABLE tb_rate (currency text PRIMARY KEY, factor int NOT NULL);
  INSERT INTO tb_price VALUES (1, 10), (2, 20), (3, 30);
  INSERT INTO tb_rate VALUES ('a', 1), ('b', 2);
`;
const converted = `
  SELECT p.id, jsonb_agg(p.amount * r.factor ORDER BY r.currency) AS amounts
  FROM tb_price p CROSS JOIN tb_rate r GROUP BY p.id`;
const dearest = 'SELECT p.id, p.amount FROM tb_price p ORDER BY p.amount DESC, p.id LIMIT 2';
const ranked = 'SELECT p.id, rank() OVER (ORDER BY p.amount) AS place FROM tb_price p';
const total = 'SELECT count(*) AS prices, sum(c.place) AS places FROM tv_ranked c LIMIT 1';
const all = (...key: string[]) => ({ key, fullRefresh: '*' as const });

checkShapes([
  {
    name: 'a row comes while what every row is computed with changes',
    tables: prices,
    tviews: { tv_price: converted },
    options: { tv_price: { key: null, fullRefresh: [{ schema: null, name: 'tb_rate' }] } },
    sessions: [
      claimed(writer(`INSERT INTO tb_price VALUES (9, 90)`)),
      writer(`UPDATE tb_rate SET factor = 5 WHERE currency = 'a'`),
    ],
    guards: [['tview']],
  },
  {
    name: 'two change what every row is computed with',
    tables: prices,
    tviews: { tv_price: converted },
    options: { tv_price: all('id') },
    sessions: [
      writer(`UPDATE tb_rate SET factor = 5 WHERE currency = 'a'`),
      writer(`UPDATE tb_rate SET factor = 6 WHERE currency = 'b'`),
    ],
    guards: [['tview']],
  },
  {
    name: 'two rows come that both are among the first',
    tables: prices,
    tviews: { tv_dearest: dearest },
    options: { tv_dearest: all('id') },
    sessions: [writer(`INSERT INTO tb_price VALUES (8, 80)`), writer(`INSERT INTO tb_price VALUES (9, 90)`)],
    guards: [['tview']],
  },
  {
    name: 'two rows change their place among all rows, below another tview',
    tables: prices,
    tviews: { tv_ranked: ranked, tv_total: total },
    options: { tv_ranked: all('id'), tv_total: all('prices') },
    sessions: [
      writer(`UPDATE tb_price SET amount = 40 WHERE id = 1`),
      writer(`UPDATE tb_price SET amount = 5 WHERE id = 2`, `INSERT INTO tb_price VALUES (9, 90)`),
    ],
    guards: [['tview']],
  },
]);
