/** Links of other forms: a table with itself, of two columns, of two types, in EXISTS, below another link. */
import { checkShapes } from './check.ts';
import { writer } from './shape.ts';

const tree = `
  CREATE TABLE tb_node (id int PRIMARY KEY, parent_id int, name text NOT NULL);
  CREATE INDEX ON tb_node (parent_id);
  INSERT INTO tb_node VALUES (1, NULL, 'root'), (2, 1, 'left'), (3, 1, 'right'), (4, 2, 'leaf');
`;
const nodeWithParents = `
  SELECT n.id, jsonb_build_object('name', n.name, 'parent', p.name, 'grandparent', g.name) AS data
  FROM tb_node n LEFT JOIN tb_node p ON p.id = n.parent_id LEFT JOIN tb_node g ON g.id = p.parent_id`;
const nodeWithGrandchildren = `
  SELECT n.id, jsonb_build_object('name', n.name, 'children', (
    SELECT jsonb_agg(jsonb_build_object('name', c.name, 'children', (
      SELECT jsonb_agg(g.name ORDER BY g.id) FROM tb_node g WHERE g.parent_id = c.id
    )) ORDER BY c.id)
    FROM tb_node c WHERE c.parent_id = n.id
  )) AS data
  FROM tb_node n`;

const regions = `
  CREATE TABLE tb_region (country text, code text, name text NOT NULL, PRIMARY KEY (country, code));
  CREATE TABLE tb_town (id int PRIMARY KEY, country text, region text, name text NOT NULL);
  CREATE INDEX ON tb_town (country, region);
  INSERT INTO tb_region VALUES ('a', '1', 'north'), ('a', '2', 'south'), ('b', '1', 'east');
  INSERT INTO tb_town VALUES (1, 'a', '1', 'town'), (2, 'b', '1', 'town'), (3, 'a', NULL, 'town');
`;
const townWithRegion = `
  SELECT t.id, jsonb_build_object('name', t.name, 'region', r.name) AS data
  FROM tb_town t LEFT JOIN tb_region r ON r.country = t.country AND r.code = t.region`;
const townsOfRegion = `
  SELECT t.country, t.region, count(*) AS towns
  FROM tb_town t WHERE t.country IS NOT NULL AND t.region IS NOT NULL GROUP BY t.country, t.region`;

/** The same value written in two ways: the link's types or scales differ. */
const typed = (near: string, far: string, value: string): string => `
  CREATE TABLE tb_thing (id ${far} PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_use (id int PRIMARY KEY, thing ${near});
  CREATE INDEX ON tb_use (thing);
  INSERT INTO tb_thing VALUES (${value}, 'thing');
  INSERT INTO tb_use VALUES (1, NULL);
`;
const useOfThing = `
  SELECT u.id, t.name FROM tb_use u LEFT JOIN tb_thing t ON t.id = u.thing`;
const typedShape = (near: string, far: string, value: string, written: string) => ({
  name: `a link of ${near} to ${far}`,
  tables: typed(near, far, value),
  tviews: { tv_use: useOfThing },
  sessions: [
    writer(`INSERT INTO tb_use VALUES (9, ${written})`),
    writer(`UPDATE tb_thing SET name = 'renamed' WHERE id = ${value}`),
  ],
  guards: [['near'], ['far']] as const,
});

const orders = `
  CREATE TABLE tb_order (id int PRIMARY KEY, ref text);
  CREATE TABLE tb_payment (id int PRIMARY KEY, ref text);
  CREATE INDEX ON tb_order (ref);
  CREATE INDEX ON tb_payment (ref);
  INSERT INTO tb_order VALUES (1, 'x'), (2, NULL);
  INSERT INTO tb_payment VALUES (1, 'y');
`;
const paidOrder = `
  SELECT o.id, o.ref FROM tb_order o WHERE EXISTS (SELECT FROM tb_payment p WHERE p.ref = o.ref)`;
const unpaidOrder = `
  SELECT o.id, o.ref FROM tb_order o WHERE NOT EXISTS (SELECT FROM tb_payment p WHERE p.ref = o.ref)`;

/** A row that is gathered looks another one up. */
const labelled = `
  CREATE TABLE tb_list (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_label (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_entry (id int PRIMARY KEY, list_id int REFERENCES tb_list, label_id int REFERENCES tb_label);
  CREATE TABLE tb_note (id int PRIMARY KEY, entry_id int REFERENCES tb_entry ON DELETE CASCADE, label_id int REFERENCES tb_label);
  CREATE INDEX ON tb_entry (list_id);
  CREATE INDEX ON tb_entry (label_id);
  CREATE INDEX ON tb_note (entry_id);
  CREATE INDEX ON tb_note (label_id);
  INSERT INTO tb_list VALUES (1, 'one'), (2, 'two'), (3, 'three');
  INSERT INTO tb_label VALUES (1, 'red'), (2, 'blue');
  INSERT INTO tb_entry VALUES (1, 1, 1), (2, 2, 2), (3, NULL, 1);
  INSERT INTO tb_note VALUES (1, 1, 2), (2, 2, 2), (3, 3, 2);
`;
const listOfLabels = `
  SELECT l.id, jsonb_build_object('name', l.name, 'labels', (
    SELECT jsonb_agg(b.name ORDER BY e.id)
    FROM tb_entry e JOIN tb_label b ON b.id = e.label_id WHERE e.list_id = l.id
  )) AS data
  FROM tb_list l`;
const listOfNotes = `
  SELECT l.id, jsonb_build_object('name', l.name, 'labels', (
    SELECT jsonb_agg(b.name ORDER BY n.id)
    FROM tb_entry e JOIN tb_note n ON n.entry_id = e.id JOIN tb_label b ON b.id = n.label_id WHERE e.list_id = l.id
  )) AS data
  FROM tb_list l`;

checkShapes([
  {
    name: 'a node comes under one that is renamed',
    tables: tree,
    tviews: { tv_node: nodeWithParents },
    sessions: [
      writer(`INSERT INTO tb_node VALUES (9, 2, 'new')`),
      writer(`UPDATE tb_node SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a node comes under one whose parent is renamed',
    tables: tree,
    tviews: { tv_node: nodeWithParents },
    sessions: [
      writer(`INSERT INTO tb_node VALUES (9, 2, 'new')`),
      writer(`UPDATE tb_node SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['path']],
  },
  {
    name: 'a node comes under one that moves',
    tables: tree,
    tviews: { tv_node: nodeWithGrandchildren },
    sessions: [
      writer(`INSERT INTO tb_node VALUES (9, 4, 'new')`),
      writer('UPDATE tb_node SET parent_id = 3 WHERE id = 4'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'two nodes move, each to where it is seen by the other',
    tables: tree,
    tviews: { tv_up: nodeWithParents, tv_down: nodeWithGrandchildren },
    sessions: [
      writer('UPDATE tb_node SET parent_id = 3 WHERE id = 4'),
      writer('UPDATE tb_node SET parent_id = 2 WHERE id = 3'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a link of two columns, to a row that is renamed',
    tables: regions,
    tviews: { tv_town: townWithRegion },
    sessions: [
      writer(`UPDATE tb_town SET region = '2' WHERE id = 1`),
      writer(`UPDATE tb_region SET name = 'renamed' WHERE country = 'a' AND code = '2'`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a link of two columns, to a row whose key changes',
    tables: regions,
    tviews: { tv_town: townWithRegion },
    sessions: [
      writer(`INSERT INTO tb_town VALUES (9, 'c', '2', 'new')`),
      writer(`UPDATE tb_region SET country = 'c' WHERE country = 'a' AND code = '2'`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'two first rows of a group of two columns',
    tables: regions,
    tviews: { tv_towns: townsOfRegion },
    sessions: [
      writer(`INSERT INTO tb_town VALUES (8, 'c', '2', 'new')`),
      writer(`INSERT INTO tb_town VALUES (9, 'c', '2', 'new')`),
    ],
    guards: [['key']],
  },
  typedShape('bigint', 'integer', '1', '1'),
  typedShape('smallint', 'bigint', '1', '1'),
  typedShape('numeric', 'numeric', '1.0', '1.00'),
  typedShape('integer', 'numeric', '1.0', '1'),
  typedShape('text', 'varchar(10)', `'a'`, `'a'`),
  typedShape('char(5)', 'char(3)', `'a'`, `'a'`),
  typedShape('float8', 'float4', `'-0'`, '0'),
  {
    name: 'an order is given the number of a payment that comes',
    tables: orders,
    tviews: { tv_order: paidOrder },
    sessions: [
      writer(`UPDATE tb_order SET ref = 'z' WHERE id = 2`),
      writer(`INSERT INTO tb_payment VALUES (9, 'z')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'an order is given the number of a payment that goes',
    tables: orders,
    tviews: { tv_order: unpaidOrder },
    sessions: [
      writer(`UPDATE tb_order SET ref = 'y' WHERE id = 2`),
      writer(`UPDATE tb_payment SET ref = 'x' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'two payments of one order, one comes and one goes',
    tables: `${orders} INSERT INTO tb_payment VALUES (2, 'x');`,
    tviews: { tv_order: paidOrder },
    sessions: [
      writer(`INSERT INTO tb_payment VALUES (9, 'x')`),
      writer('DELETE FROM tb_payment WHERE id = 2'),
    ],
    // Each finds the order by the same value, so its far locks and its key are the same.
    guards: [['far', 'key']],
  },
  {
    name: 'a row moves whose label is renamed',
    tables: labelled,
    tviews: { tv_list: listOfLabels },
    sessions: [
      writer('UPDATE tb_entry SET list_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_label SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a row moves while a row below it has its label renamed',
    tables: labelled,
    tviews: { tv_list: listOfNotes },
    sessions: [
      writer('UPDATE tb_entry SET list_id = 3 WHERE id = 3'),
      writer(`UPDATE tb_label SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['path']],
  },
  {
    name: 'a note moves to an entry that is linked while its label is renamed, by three sessions',
    tables: labelled,
    tviews: { tv_list: listOfNotes },
    sessions: [
      writer('UPDATE tb_note SET entry_id = 3 WHERE id = 1'),
      writer('UPDATE tb_entry SET list_id = 2 WHERE id = 3'),
      writer(`UPDATE tb_label SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'an entry goes with its notes while a note comes',
    tables: labelled,
    tviews: { tv_list: listOfNotes },
    sessions: [writer('DELETE FROM tb_entry WHERE id = 1'), writer('INSERT INTO tb_note VALUES (9, 1, 1)')],
    // The foreign key has one wait for the other.
    guards: [],
    errors: ['23503'],
  },
]);
