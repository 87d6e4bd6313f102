/** What `promtool check metrics` asks of a page of metrics, and that histograms add up. Returns what is wrong. */

interface Family {
  name: string;
  type: string;
  help: string;
  samples: { name: string; labels: string; value: number }[];
}

const sampleLine =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/;
const otherUnits =
  /_(?:us|ms|ns|milliseconds|microseconds|minutes|hours|kb|mb|gb|percent|kilobytes|wh|kwh)(?:_|$)/;

export function lintMetrics(text: string): string[] {
  const wrong: string[] = [];
  if (!text.endsWith('\n')) wrong.push('the last line has no end');
  const families = familiesOf(text, wrong);
  if (families.length === 0) wrong.push('there are no metrics');
  const seen = new Set<string>();
  for (const family of families) {
    const { name, type, help, samples } = family;
    if (seen.has(name)) wrong.push(`${name} comes twice`);
    seen.add(name);
    if (help.length < 10) wrong.push(`${name} has no help`);
    if (!name.startsWith('commonwatt_') && !name.startsWith('process_')) wrong.push(`${name}: not ours`);
    if ((type === 'counter') !== name.endsWith('_total')) wrong.push(`${name} is a ${type}`);
    if (otherUnits.test(name)) wrong.push(`${name}: not a base unit`);
    const series = samples.map((sample) => `${sample.name}{${sample.labels}}`);
    if (new Set(series).size !== series.length) wrong.push(`${name}: a series comes twice`);
    for (const { value } of samples) {
      if (!Number.isFinite(value)) wrong.push(`${name} is ${value}`);
      if (type === 'counter' && value < 0) wrong.push(`${name} counts down`);
    }
    if (type === 'histogram') wrong.push(...lintHistogram(family));
  }
  return wrong;
}

function familiesOf(text: string, wrong: string[]): Family[] {
  const families: Family[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, about, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    const last = families.at(-1);
    if (about === 'HELP') families.push({ name, help: rest, type: '', samples: [] });
    else if (about === 'TYPE') {
      if (last?.name !== name || last.samples.length > 0)
        wrong.push(`TYPE of ${name} is not beside its HELP`);
      else last.type = rest;
    } else addSample(line, last, wrong);
  }
  return families;
}

function addSample(line: string, family: Family | undefined, wrong: string[]): void {
  const [whole, name = '', labels = '', value = ''] = sampleLine.exec(line) ?? [];
  const base = family?.type === 'histogram' ? name.replace(/_(?:bucket|sum|count)$/, '') : name;
  if (whole === undefined || base !== family?.name) wrong.push(`out of place: ${line}`);
  else
    family.samples.push({ name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) });
}

function lintHistogram({ name, samples }: Family): string[] {
  const wrong: string[] = [];
  const series = new Map<string, { le: number; value: number }[]>();
  const counts = new Map<string, number>();
  for (const sample of samples) {
    const [, le] = /(?:^|,)le="([^"]+)"/.exec(sample.labels) ?? [];
    const rest = sample.labels.replace(/,?le="[^"]+"/, '').replace(/^,/, '');
    if (sample.name === `${name}_count`) counts.set(rest, sample.value);
    if (sample.name !== `${name}_bucket`) continue;
    const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
    series.set(rest, [...(series.get(rest) ?? []), { le: bound, value: sample.value }]);
  }
  for (const [labels, buckets] of series) {
    for (const [at, { le, value }] of buckets.entries()) {
      const before = buckets[at - 1];
      if (before && (before.le >= le || before.value > value)) wrong.push(`${name}{${labels}} does not rise`);
    }
    const last = buckets.at(-1);
    if (last?.le !== Number.POSITIVE_INFINITY || last.value !== counts.get(labels))
      wrong.push(`${name}{${labels}} does not add up`);
  }
  if (series.size !== counts.size) wrong.push(`${name}: counts without buckets`);
  return wrong;
}
