/** The paths of a definition as the tree they form, for people: from the tables that have the key outwards, along the links. */
import { type AnalysedDefinition, keyAt } from './compile.ts';
import type { OccurrencePath } from './derive.ts';
import { shownKey, shownLinks } from './key-query.ts';

/** Occurrences of one table that reach the key in one way: three subqueries of one correlation are one node. */
export interface PathNode {
  /** In the order of the definition; the first one stands for all. Never empty. */
  readonly occurrences: readonly number[];
  /** Each once. */
  readonly aliases: readonly string[];
  /**
   * `key`: the key's columns are its own. `joined`: each row of the tview has one of it. `optional`: from the nullable side
   * of an outer join, or inside a subquery.
   */
  readonly role: 'key' | 'joined' | 'optional';
  /** What ties it to the node above; of a node at the top, which of its columns are the key. */
  readonly equalities: readonly string[];
  readonly children: readonly PathNode[];
}

/** Behind the others those without a path, a change of which may reach every key. */
export function pathTree(analysed: AnalysedDefinition): readonly PathNode[] {
  const { definition, bounded, unbounded } = analysed;
  interface Group {
    readonly members: OccurrencePath[];
    readonly below: Group[];
  }
  const top: Group[] = [];
  const groups = new Map<string, Group>();
  const groupOf = new Map<number, Group>();
  const byDepth = bounded.toSorted((a, b) => a.hops.length - b.hops.length || a.occurrence - b.occurrence);
  for (const path of byDepth) {
    const [hop] = path.hops;
    const above = hop === undefined ? undefined : groupOf.get(hop.to);
    const way =
      hop?.links.map(({ from, to }) => [from.column, from.casts, to.column, to.casts]) ?? path.keyParts;
    const { relation } = definition.occurrences[path.occurrence]!;
    const name = JSON.stringify([relation.oid, above?.members[0]?.occurrence, way]);
    const known = groups.get(name);
    const group = known ?? { members: [], below: [] };
    group.members.push(path);
    groupOf.set(path.occurrence, group);
    if (known !== undefined) continue;
    groups.set(name, group);
    (above?.below ?? top).push(group);
  }

  const node = ({ members, below }: Group): PathNode => {
    const occurrences = members.map(({ occurrence }) => occurrence);
    const first = members[0]!;
    const [hop] = first.hops;
    return {
      occurrences,
      aliases: [...new Set(occurrences.map((index) => definition.occurrences[index]!.alias))],
      role: occurrences.some((index) =>
        keyAt(analysed, index).some((part) => part.kind !== 'constant' && part.occurrence === index),
      )
        ? 'key'
        : occurrences.every((index) => definition.always.has(index))
          ? 'joined'
          : 'optional',
      equalities:
        hop === undefined
          ? shownKey(definition, keyAt(analysed, first.occurrence), first)
          : shownLinks(definition, hop.links),
      children: below.map(node),
    };
  };
  const byTable = new Map<number, number[]>();
  for (const index of unbounded) {
    const { oid } = definition.occurrences[index]!.relation;
    byTable.set(oid, [...(byTable.get(oid) ?? []), index]);
  }
  const withoutPath = [...byTable.values()].map(
    (occurrences): PathNode => ({
      occurrences,
      aliases: [...new Set(occurrences.map((index) => definition.occurrences[index]!.alias))],
      role: 'joined',
      equalities: ['no way to the key'],
      children: [],
    }),
  );
  return [...top.map(node), ...withoutPath];
}
