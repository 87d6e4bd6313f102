/** A statement as a page to print: A4, no scripts, nothing from elsewhere, everything that others named escaped. */
import { dayChart } from './day-chart.ts';
import { escaped, fixed, roundedToSum } from './printing.ts';
import type { Statement, StatementPart, StatementRow } from './statement.ts';

const titles: Record<StatementPart, string> = {
  own: 'What you used',
  ready: 'What stood ready for your models',
  others: 'What others used of your models',
};

export function statementPage(statement: Statement): string {
  const { organisation, month } = statement;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(`${organisation}, ${month}: energy and carbon`)}</title><style>${style}</style></head>
<body><main>
<header><p class="product">Commonwatt · statement of energy and carbon</p>
<h1>${escaped(organisation)} <span>${escaped(month)}</span></h1>
<p>${escaped(statement.from)} to ${escaped(statement.to)}${statement.complete ? '' : ' <strong>The month is not over: this is what it took so far.</strong>'}</p></header>
${summary(statement)}
<section><h2>Day by day</h2>${dayChart(statement.days)}${dayTable(statement)}</section>
<section><h2>By model</h2>${useTable(statement)}</section>
${methodology(statement)}
</main></body></html>
`;
}

function summary({ total, avoided, quality }: Statement): string {
  const figures = [
    ['Energy used', energy(total.energyWh), quality],
    ['Carbon of electricity', grams(total.carbonGCo2e), 'gCO2e, location-based'],
    ['Embodied carbon', grams(total.embodiedGCo2e), 'share of making the hardware'],
    [
      'Reserved',
      total.allocated ? energy(total.allocated.energyWh) : 'not known',
      'what was kept ready for you',
    ],
    ['Waste', total.waste ? energy(total.waste.energyWh) : 'not known', 'reserved, and not used by work'],
    ['Requests', String(total.requests), `${total.finished} of them answered, ${total.jobs} trainings`],
  ];
  const tiles = figures.map(
    ([name = '', value = '', note = '']) =>
      `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}<small>${escaped(note)}</small></dd></div>`,
  );
  const spared =
    avoided.requests > 0
      ? `<p>Avoided by using answers again (estimated, in no sum here): ${escaped(energy(avoided.energyWh))}, ${escaped(grams(avoided.carbonGCo2e))}, ${avoided.requests} requests.</p>`
      : '';
  return `<section><dl>${tiles.join('')}</dl>${spared}</section>`;
}

interface Column<Row> {
  name: string;
  total: number | null;
  of(row: Row): number | null;
}

function columnsOf<
  Row extends Pick<StatementRow, 'energyWh' | 'carbonGCo2e' | 'embodiedGCo2e' | 'allocated' | 'waste'>,
>({ total }: Statement): Column<Row>[] {
  return [
    { name: 'Used, Wh', total: total.energyWh, of: (row) => row.energyWh },
    {
      name: 'Reserved, Wh',
      total: total.allocated?.energyWh ?? null,
      of: (row) => row.allocated?.energyWh ?? null,
    },
    { name: 'Waste, Wh', total: total.waste?.energyWh ?? null, of: (row) => row.waste?.energyWh ?? null },
    { name: 'Carbon, g', total: total.carbonGCo2e, of: (row) => row.carbonGCo2e },
    { name: 'Embodied, g', total: total.embodiedGCo2e, of: (row) => row.embodiedGCo2e },
  ];
}

/** Cells of the columns, row by row, and the totals; what is printed adds up. */
function cells<Row>(rows: readonly Row[], columns: Column<Row>[]): { rows: string[][]; total: string[] } {
  const printed = columns.map(({ total, of }) => roundedToSum(rows.map(of), total));
  return {
    rows: rows.map((_, index) => printed.map(({ parts }) => parts[index] ?? '')),
    total: printed.map(({ total }) => total),
  };
}

function dayTable(statement: Statement): string {
  const { days } = statement;
  const columns = columnsOf<(typeof days)[number]>(statement);
  const printed = cells(days, columns);
  return table(
    ['Day', 'Requests', ...columns.map(({ name }) => name)],
    [...days.map(({ day, requests }, index) => [day, String(requests), ...(printed.rows[index] ?? [])])],
    ['Total', String(statement.total.requests), ...printed.total],
  );
}

function useTable(statement: Statement): string {
  const { rows } = statement;
  const columns = columnsOf<StatementRow>(statement);
  const printed = cells(rows, columns);
  const named = rows.map((row, index) => ({ row, cells: printed.rows[index] ?? [] }));
  const groups = (['own', 'ready', 'others'] as const).flatMap((part) => {
    const own = named.filter(({ row }) => row.part === part);
    if (own.length === 0) return [];
    const heading = `<tr class="part"><th colspan="${columns.length + 2}" scope="rowgroup">${titles[part]}</th></tr>`;
    return [
      `<tbody>${heading}${own.map(({ row, cells }) => line(nameOf(row), String(row.requests), cells)).join('')}</tbody>`,
    ];
  });
  const head = ['', 'Requests', ...columns.map(({ name }) => name)];
  return `<table><thead>${headRow(head)}</thead>${groups.join('')}<tfoot>${line('Total', String(statement.total.requests), printed.total)}</tfoot></table>`;
}

function nameOf({ part, tenant, model, kind }: StatementRow): string {
  const what = model === null || model.startsWith(kind) ? kind : `${model}, ${kind}`;
  return part === 'others' ? `${tenant}: ${what}` : what;
}

function table(head: string[], rows: string[][], total: string[]): string {
  const body = rows.map(([first = '', second = '', ...rest]) => line(first, second, rest)).join('');
  const [name = '', requests = '', ...sums] = total;
  return `<table><thead>${headRow(head)}</thead><tbody>${body}</tbody><tfoot>${line(name, requests, sums)}</tfoot></table>`;
}

const headRow = (names: string[]) =>
  `<tr>${names.map((name) => `<th scope="col">${escaped(name)}</th>`).join('')}</tr>`;
const line = (name: string, requests: string, numbers: string[]) =>
  `<tr><th scope="row">${escaped(name)}</th>${[requests, ...numbers].map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;

function methodology(statement: Statement): string {
  const { quality, method, methodVersion, zone, intensityGPerKwh, pue, from, to, organisation } = statement;
  const unknown = Object.entries(statement.unknown).map(([field, why]) => `Not known: ${field}: ${why}.`);
  const items = [
    `Energy is ${quality} by ${method}, method version ${methodVersion}.`,
    `Carbon = energy · PUE · intensity of the hour, location-based; mean of the platform ${fixed(intensityGPerKwh.value, 1)} gCO2e/kWh (${intensityGPerKwh.kind}, ${zone}; ${intensityGPerKwh.source}). PUE ${pue.value}${pue.assumed ? ', assumed' : ''}. Certificates and offsets do not count.`,
    'Used: what was caused by your requests and trainings, with their part of idle power. Reserved: what was kept ready for you, with your part of the idle platform. Waste: reserved and used by neither requests nor trainings.',
    `Printed figures are rounded so that they add up to the total; unrounded, rows and days differ from it by at most ${statement.residualRatio.toExponential(0)} of it.`,
    ...statement.notes.map((note) => `${note.charAt(0).toUpperCase()}${note.slice(1)}.`),
    ...unknown,
  ];
  const commands = [
    `commonwatt impact statement ${statement.month} ${organisation} --json`,
    `commonwatt ledger --from ${from} --to ${to} --format csv --output ledger.csv`,
    'commonwatt calc --list',
  ];
  return `<section class="method"><h2>How these figures come about</h2><ul>${items.map((item) => `<li>${escaped(item)}</li>`).join('')}</ul>
<h2>How to compute them again</h2><p>The first command gives every figure unrounded, the second each line of the ledger that they are sums of (sum its columns energyWh, allocatedWh, carbonGCo2e, embodiedGCo2e), the third each formula. docs/accounting.md explains them.</p>
<pre>${escaped(commands.join('\n'))}</pre><p>Made ${escaped(statement.madeAt)}.</p></section>`;
}

const energy = (wh: number) => `${fixed(wh, 4)} Wh`;
const grams = (value: number) => `${fixed(value, 4)} g`;

const style = `
@page{size:A4;margin:16mm 14mm}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:#16211c;font:10.5pt/1.45 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:182mm;margin:0 auto;padding:8mm 4mm}
.product{color:#2f6b4f;margin:0;letter-spacing:.03em}
h1{font-size:22pt;margin:.1em 0 0}h1 span{font-weight:400;color:#4a5a52}
h2{font-size:13pt;margin:1.4em 0 .5em;break-after:avoid}
dl{display:grid;grid-template-columns:repeat(3,1fr);gap:3mm;margin:5mm 0}
dl div{border:1px solid #cfd8d3;border-radius:2mm;padding:2.5mm 3mm;break-inside:avoid}
dt{color:#4a5a52}dd{margin:0;font-size:14pt;font-variant-numeric:tabular-nums}
dd small{display:block;font-size:9pt;color:#4a5a52}
svg{display:block;width:100%;height:auto;break-inside:avoid}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:9.5pt;margin-top:3mm}
th,td{padding:1mm 1.5mm;border-bottom:1px solid #dde4e0;text-align:right;vertical-align:top}
th[scope=row],th[scope=rowgroup],thead th:first-child{text-align:left;font-weight:400;overflow-wrap:anywhere}
thead th{border-bottom:1.5px solid #16211c;font-weight:600}
.part th{padding-top:3mm;font-weight:600}
tfoot th,tfoot td{border-top:1.5px solid #16211c;border-bottom:0;font-weight:600!important}
thead{display:table-header-group}tfoot{display:table-row-group}tr{break-inside:avoid}
li{margin:.2em 0;overflow-wrap:anywhere}pre{background:#f2f5f3;padding:3mm;border-radius:2mm;white-space:pre-wrap;overflow-wrap:anywhere;font-size:9pt;break-inside:avoid}
@media print{main{padding:0;max-width:none}a{color:inherit}}
@media (max-width:160mm){dl{grid-template-columns:1fr 1fr}table{display:block;overflow-x:auto}}
`;
