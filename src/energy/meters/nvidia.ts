/**
 * NVIDIA accelerators. The driver counts their energy (NVML, mJ, since Volta), and NVIDIA's own DCGM exporter tells
 * that counter over HTTP. `nvidia-smi` has no energy counter, only power, which on A100 and H100 is sampled a quarter
 * of the time (arXiv 2312.02741), so its interval is wide.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Source, SourceAnswer } from './polled.ts';
import { parseText, type Series } from './prometheus.ts';
import { Web, type WebAccess } from './web.ts';

/** Idle watts of one. Source: Cloud Carbon Footprint; H100: seen, 80 GB HBM3 without work, 74 to 77 W. */
const idleWatts: readonly [RegExp, number][] = [
  [/H[12]00/, 74],
  [/A100/, 46],
  [/V100/, 35],
  [/\bT4\b/, 8],
  [/A10G/, 18],
];
const unknownIdleW = 46;

export interface AcceleratorAnswer extends SourceAnswer {
  /** Idle watts of all of them, assumed from their names. */
  idleW?: number;
}

/** Example: two `NVIDIA A100-SXM4-80GB` → 92 W. */
export function assumedIdleW(names: readonly string[]): number {
  return names.reduce(
    (sum, name) => sum + (idleWatts.find(([pattern]) => pattern.test(name))?.[1] ?? unknownIdleW),
    0,
  );
}

export function dcgmSource(settings: WebAccess & { everyS: number }): Source {
  const web = new Web(settings);
  return {
    name: 'dcgm',
    methodVersion: '1',
    covers: 'accelerators',
    // NVIDIA's documentation of its sensors: ±5 %.
    interval: { low: 0.95, high: 1.05 },
    told: `the energy counters of the NVIDIA accelerators (DCGM exporter ${web.shownUrl})`,
    everyS: settings.everyS,
    ask: async (signal) => parseDcgm(parseText(await web.get(undefined, signal))),
  };
}

/** mJ of each device once: its instances (MIG) repeat the counter of the whole device. */
export function parseDcgm(series: readonly Series[]): AcceleratorAnswer {
  const counters = ofDevices(series, 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION');
  if (counters.size === 0)
    throw new Error(
      'the DCGM exporter does not tell DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION (add it to its counters file)',
    );
  const powers = [...ofDevices(series, 'DCGM_FI_DEV_POWER_USAGE').values()];
  const busy = [...ofDevices(series, 'DCGM_FI_DEV_GPU_UTIL').values()];
  const sum = (all: readonly { value: number }[]) => all.reduce((total, { value }) => total + value, 0);
  return {
    counterJ: sum([...counters.values()]) / 1000,
    devices: [...counters.keys()].sort().join(),
    idleW: assumedIdleW([...counters.values()].map(({ labels }) => labels.modelName ?? '')),
    ...(powers.length === counters.size ? { powerW: sum(powers) } : {}),
    ...(busy.length === counters.size ? { utilisation: sum(busy) / busy.length / 100 } : {}),
  };
}

function ofDevices(series: readonly Series[], metric: string): Map<string, Series> {
  const found = new Map<string, Series>();
  for (const each of series) {
    if (each.name !== metric || !Number.isFinite(each.value)) continue;
    const device = each.labels.UUID ?? each.labels.gpu ?? '';
    const known = found.get(device);
    if (!known || known.value < each.value) found.set(device, each);
  }
  return found;
}

/** Errors of 35 % on average and up to 65 % were mended in arXiv 2312.02741. */
const sampled = { low: 0.65, high: 1.65 };
/**
 * From Hopper on the average is over a whole second, with no gap. Seen on an H100 against the driver's own energy
 * counter, 15 s each: without work .995, at 685 W .987, in bursts of .05, .3 and 2 s .998, .994 and .980. Beside that,
 * NVIDIA's ±5 %.
 */
const averaged = { low: 0.93, high: 1.07 };
const wholeSeconds = /\b(G?H[128]00|H20|G?B[123]00)\b/;

export interface SmiOptions {
  /** The program and its first arguments; tests give one of their own. */
  command: readonly string[];
  everyS: number;
}

const fields = ['uuid', 'name', 'utilization.gpu', 'power.draw'];

export function smiSource({ command, everyS }: SmiOptions): Source {
  const stream = new SmiStream(command);
  return {
    name: 'nvidia-smi',
    methodVersion: '1',
    covers: 'accelerators',
    get interval() {
      return stream.wholeSeconds ? averaged : sampled;
    },
    get told() {
      const how = stream.wholeSeconds ? 'means over whole seconds' : 'sampled';
      return `the power of the NVIDIA accelerators (nvidia-smi, ${how}: a DCGM exporter counts their energy)`;
    },
    everyS,
    ask: (signal) => stream.next(signal),
    close: () => stream.close(),
  };
}

interface SmiRow {
  uuid: string;
  name: string;
  utilisation: number | null;
  powerW: number | null;
  /** The driver's average, not a moment. */
  isAverage: boolean;
}

/** One process that goes on telling: starting it for every look would cost more than what is looked at. */
class SmiStream {
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  /** The driver knows the field that is an average over a second (since 530). */
  #averages = true;
  #again = false;
  #round: SmiRow[] = [];
  #rounds: SmiRow[][] = [];
  #failure: string | undefined;
  #wake: (() => void) | undefined;

  constructor(command: readonly string[]) {
    this.#command = command;
  }

  /** All devices tell means over whole seconds. False before the first answer. */
  wholeSeconds = false;

  async next(signal: AbortSignal): Promise<AcceleratorAnswer> {
    this.#child ??= this.#start();
    if (this.#rounds.length === 0) await this.#waited(signal);
    const rounds = this.#rounds.splice(0);
    if (rounds.length === 0 && this.#again && !signal.aborted) {
      this.#again = false;
      return this.next(signal);
    }
    if (rounds.length === 0) throw new Error(this.#failure ?? 'nvidia-smi says nothing');
    this.wholeSeconds =
      this.#averages &&
      (rounds.at(-1) ?? []).every(({ name, isAverage }) => isAverage && wholeSeconds.test(name));
    return answerOf(rounds);
  }

  async close(): Promise<void> {
    this.#child?.kill();
    this.#child = undefined;
  }

  #start(): ChildProcess {
    const [program = 'nvidia-smi', ...first] = this.#command;
    const asked = this.#averages ? [...fields, 'power.draw.average'] : fields;
    const args = [
      ...first,
      `--query-gpu=${asked.join(',')}`,
      '--format=csv,noheader,nounits',
      '--loop-ms=500',
    ];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#round = [];
    const take = (line: string) => this.#line(line);
    createInterface({ input: child.stdout }).on('line', take);
    createInterface({ input: child.stderr }).on('line', take);
    child.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure = error.code === 'ENOENT' ? `${program} is not installed` : error.message;
      this.#ended();
    });
    // After the last line was read.
    child.on('close', () => this.#ended());
    child.unref();
    return child;
  }

  #ended(): void {
    this.#child = undefined;
    this.#wake?.();
  }

  #line(line: string): void {
    if (/power\.draw\.average.*not a valid field/i.test(line)) {
      this.#averages = false;
      this.#again = true;
      return;
    }
    const row = parseSmiRow(line);
    if (!row) {
      if (line.trim() !== '') this.#failure = `nvidia-smi: ${line.trim().slice(0, 160)}`;
      return;
    }
    // The first device again: a round is complete.
    if (this.#round.some(({ uuid }) => uuid === row.uuid)) {
      this.#rounds.push(this.#round);
      // Nobody asks: only the newest count.
      if (this.#rounds.length > 600) this.#rounds.shift();
      this.#round = [];
      this.#wake?.();
    }
    this.#round.push(row);
  }

  #waited(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done);
    });
  }
}

/** Example: `GPU-6d5c…, Tesla T4, 93, 68.24, 67.90`; the last is there on newer drivers, `[N/A]` on some cards. */
export function parseSmiRow(line: string): SmiRow | null {
  const [uuid, name, utilisation, now, average] = line.split(',').map((cell) => cell.trim());
  if (!uuid?.startsWith('GPU-') || name === undefined || now === undefined) return null;
  const percent = numberOf(utilisation);
  return {
    uuid,
    name,
    utilisation: percent === null ? null : percent / 100,
    powerW: numberOf(average) ?? numberOf(now),
    isAverage: numberOf(average) !== null,
  };
}

function numberOf(text: string | undefined): number | null {
  return text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;
}

function answerOf(rounds: readonly SmiRow[][]): AcceleratorAnswer {
  const newest = rounds.at(-1) ?? [];
  const silent = newest.find(({ powerW }) => powerW === null);
  if (silent) throw new Error(`nvidia-smi does not tell the power of ${silent.name}`);
  const powers = rounds.map((round) => round.reduce((sum, { powerW }) => sum + (powerW ?? 0), 0));
  const busy = rounds.flat().flatMap(({ utilisation }) => (utilisation === null ? [] : [utilisation]));
  return {
    powerW: mean(powers),
    devices: newest.map(({ uuid }) => uuid).join(),
    idleW: assumedIdleW(newest.map(({ name }) => name)),
    ...(busy.length === 0 ? {} : { utilisation: mean(busy) }),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
