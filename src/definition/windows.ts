/** The windows of one SELECT, as the walk needs them: by which columns their partitions are made. */
import type { WindowDef } from '@pgsql/types';
import type { Node, SelectStmt } from './grammar.ts';

/** The PARTITION BY lists of the window functions of a SELECT, each once; empty where it has none. Not those of subqueries. */
export function partitionsOf(select: SelectStmt): readonly (readonly Node[])[] {
  const lists = new Map<string, readonly Node[]>();
  for (const window of windowsIn([select.targetList, select.sortClause])) {
    const list = partitionOf(window, select);
    lists.set(JSON.stringify(list, withoutLocation), list);
  }
  return [...lists.values()];
}

/** A window may be one of the WINDOW clause, or build upon one, whose partition it then has. */
function partitionOf({ name, refname, partitionClause }: WindowDef, select: SelectStmt): readonly Node[] {
  let wanted = refname ?? name;
  let partition = partitionClause;
  while (partition === undefined && wanted !== undefined) {
    const named = (select.windowClause ?? []).flatMap((node) =>
      'WindowDef' in node ? [node.WindowDef] : [],
    );
    const found = named.find((window) => window.name === wanted);
    partition = found?.partitionClause;
    wanted = found?.refname;
  }
  return partition ?? [];
}

function* windowsIn(node: unknown): Generator<WindowDef> {
  if (Array.isArray(node)) for (const element of node) yield* windowsIn(element);
  else if (typeof node === 'object' && node !== null && !('SubLink' in node)) {
    // A function's, or that of JSON_ARRAYAGG and JSON_OBJECTAGG.
    if ('over' in node && node.over !== undefined) yield node.over as WindowDef;
    for (const value of Object.values(node)) yield* windowsIn(value);
  }
}

/** Where a node stands in the text makes no difference. */
const withoutLocation = (name: string, value: unknown): unknown => (name === 'location' ? undefined : value);
