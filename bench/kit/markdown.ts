/** Tables and the line that says under which circumstances they came about. */
import type { Circumstances } from './machine.ts';

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

export function caption({ date, command, commit, machine, versions }: Circumstances): string {
  const programs = Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
  return (
    `${date.slice(0, 10)}, ${machine.cores} × ${machine.cpu}, ${machine.memoryGb} GB, load ${machine.loadBefore} before; ` +
    `${programs}; commit ${commit}; \`${command}\``
  );
}

/** A target that was set beforehand, and whether it was met: shown either way. Null: no target, but what explains one. */
export interface Target {
  readonly title: string;
  readonly wanted: string;
  readonly measured: string;
  readonly met: boolean | null;
}

export function targetTable(targets: readonly Target[]): string {
  return table(
    ['target', 'wanted', 'measured', ''],
    targets.map(({ title, wanted, measured, met }) => [title, wanted, measured, verdict(met)]),
  );
}

function verdict(met: boolean | null): string {
  if (met === null) return '';
  return met ? 'met' : '**missed**';
}

export const milliseconds = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
