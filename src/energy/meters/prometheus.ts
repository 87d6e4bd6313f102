/**
 * Whatever tells energy or power in Prometheus' text form: Kepler, Scaphandre, DCGM, exporters of power strips, or an
 * upstream service. Source of the form: prometheus.io, "Text-based format".
 */
import type { Coverage } from './meter.ts';
import { coverageTold } from './plug.ts';
import type { Source, SourceAnswer } from './polled.ts';
import { isEnergyUnit, type SensorUnit, toJoules, toWatts } from './quantity.ts';
import { Web, type WebAccess } from './web.ts';

export interface PrometheusSettings extends WebAccess {
  metric: string;
  /** Only series with these labels. */
  labels: Record<string, string>;
  unit: SensorUnit;
  covers: Exclude<Coverage, 'accelerators'>;
  everyS: number;
}

export interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export function prometheusSource(settings: PrometheusSettings): Source {
  const web = new Web(settings);
  const { metric, unit, covers, everyS } = settings;
  return {
    name: 'prometheus',
    methodVersion: '1',
    covers,
    interval: { low: 0.9, high: 1.1 },
    told: `${metric} of ${web.shownUrl}, which covers ${coverageTold[covers]}`,
    everyS,
    ask: async (signal) => sumOf(parseText(await web.get(undefined, signal)), { ...settings, unit }),
  };
}

/** Sum of the series with that name and those labels; throws when there is none, or not all are numbers. */
export function sumOf(
  series: readonly Series[],
  { metric, labels, unit }: Pick<PrometheusSettings, 'metric' | 'labels' | 'unit'>,
): SourceAnswer {
  const named = series.filter(({ name }) => name === metric);
  const fitting = named.filter((each) =>
    Object.entries(labels).every(([label, value]) => each.labels[label] === value),
  );
  if (fitting.length === 0)
    throw new Error(
      named.length === 0 ? `there is no ${metric}` : `no ${metric} has the labels that were asked for`,
    );
  const sum = fitting.reduce((total, { value }) => total + value, 0);
  if (!Number.isFinite(sum)) throw new Error(`${metric} is ${sum}`);
  const devices = fitting
    .map((each) => JSON.stringify(each.labels))
    .sort()
    .join();
  return isEnergyUnit(unit)
    ? { counterJ: toJoules(sum, unit), devices }
    : { powerW: toWatts(sum, unit), devices };
}

const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$/;
const label = /([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"/g;

/** Lines that are no samples (comments, and what is not of the form) are passed over. */
export function parseText(text: string): Series[] {
  return text.split('\n').flatMap((each): Series[] => {
    const match = line.exec(each.trim());
    if (!match?.[1] || !match[3]) return [];
    const labels: Record<string, string> = {};
    for (const [, name = '', value = ''] of (match[2] ?? '').matchAll(label))
      labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    return [{ name: match[1], labels, value: parseValue(match[3]) }];
  });
}

function parseValue(text: string): number {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
}
