/** The status page as data and as HTML. No scripts, no requests to anywhere. */

export interface StatusPage {
  readonly title: string;
  readonly sections: readonly StatusSection[];
}

export type StatusSection =
  | {
      readonly kind: 'facts';
      readonly heading: string;
      readonly facts: readonly (readonly [name: string, value: Cell])[];
    }
  | {
      readonly kind: 'table';
      readonly heading: string;
      readonly columns: readonly string[];
      readonly rows: readonly (readonly Cell[])[];
    };

type Cell = string | number | boolean | null;

const STYLE = `
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color-scheme: light dark }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #8884 }
td.number { text-align: right; font-variant-numeric: tabular-nums } h2 { margin-top: 2rem; font-size: 1.1rem }`;

export function renderStatus(page: StatusPage): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(page.title)}</title>
<style>${STYLE}</style></head>
<body>
<h1>${escapeHtml(page.title)}</h1>
${page.sections.map(renderSection).join('\n')}
<p><a href="/metrics">/metrics</a> · <a href="/readyz">/readyz</a> · <a href="/healthz">/healthz</a></p>
</body>
</html>
`;
}

function renderSection(section: StatusSection): string {
  const heading = `<h2>${escapeHtml(section.heading)}</h2>`;
  if (section.kind === 'facts') {
    const rows = section.facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th>${cell(value)}</tr>`);
    return `${heading}\n<table>\n${rows.join('\n')}\n</table>`;
  }
  if (section.rows.length === 0) return `${heading}\n<p>None.</p>`;
  const head = section.columns.map((column) => `<th>${escapeHtml(column)}</th>`).join('');
  const rows = section.rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`);
  return `${heading}\n<table>\n<tr>${head}</tr>\n${rows.join('\n')}\n</table>`;
}

function cell(value: Cell): string {
  if (typeof value === 'number') return `<td class="number">${value}</td>`;
  if (typeof value === 'boolean') return `<td>${value ? 'yes' : 'no'}</td>`;
  return `<td>${value === null ? '' : escapeHtml(value)}</td>`;
}

/** Names of databases and applications are chosen by others. */
function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
