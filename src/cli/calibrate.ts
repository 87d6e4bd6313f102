/** `commonwatt calibrate`: measures this host at five loads, so that the estimate from CPU time comes close. */
import { type Command, Option } from 'commander';
import { type Config, loadConfig } from '../config.ts';
import { Host } from '../energy/host.ts';
import { architectureOf, processorName } from '../energy/meters/architectures.ts';
import {
  type Calibration,
  endsAt,
  fitCurve,
  leaveOneOutError,
  type MeasuredPoint,
  relativeError,
  saveCalibration,
  statedError,
} from '../energy/meters/calibration.ts';
import { type NotUsed, openHostSensor } from '../energy/meters/choose.ts';
import { hostWatts } from '../energy/meters/cpu-time.ts';
import { wattsAt } from '../energy/meters/curves.ts';
import { type LoadPoint, loads, measureLoads, quietness } from '../energy/meters/measure-loads.ts';
import type { Coverage, Meter } from '../energy/meters/meter.ts';
import { openRapl } from '../energy/meters/rapl.ts';
import { type MeterConfig, sensorNames } from '../energy/meters/settings.ts';
import { CommonwattError } from '../errors.ts';
import type { ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { wholeNumber } from './references.ts';
import { answer, progressLine, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  meter?: (typeof sensorNames)[number];
  seconds: number;
  watts?: string;
  points?: string;
  print?: boolean;
  force?: boolean;
}

interface Measured {
  points: MeasuredPoint[];
  sensor: string;
  covers: Coverage;
  uncertainty: number;
  platformFactor: number | null;
}

/** Of all CPUs: more is refused, less is noted. */
const busy = { refused: 0.1, noted: 0.03 };
/** Of a person who reads a plug. */
const typedUncertainty = 0.05;

export function define(command: Command, terminal: Terminal): void {
  command
    .addOption(
      new Option('--meter <name>', 'the sensor to read (default: the best of this host)').choices(
        sensorNames,
      ),
    )
    .addOption(
      new Option('--seconds <n>', 'how long each of the five loads is measured')
        .default(30)
        .argParser(wholeNumber),
    )
    .option('--watts <idle=W,max=W>', 'no sensor: what a plug shows when idle and at full load')
    .option('--points <u:W,…>', 'no sensor: watts at parts of full load, e.g. 0:12,0.5:31,1:47')
    .option('--print', 'print the curve for commonwatt.yaml and keep nothing')
    .option('--force', 'measure although other programs use the CPUs')
    .addHelpText(
      'after',
      '\nTakes about three minutes, in which all CPUs work: stop the server and other programs before.\n\nExample:\n  $ commonwatt calibrate\n  $ commonwatt calibrate --watts idle=12,max=55',
    )
    .action(async (options: Options) => {
      const config = loadConfig(terminal.env);
      const host = new Host();
      const measured =
        options.watts || options.points ? typed(options) : await measure(options, config, host, terminal);
      const result = resultOf(measured, config, host);
      const file = options.print ? null : await saveCalibration(config.data, result.calibration);
      answer(terminal, options.json, { ...result, file }, linesOf(measured, result, file, config));
    });
}

function typed({ watts, points }: Options): Measured {
  if (watts && points) throw new WrongUse('--watts and --points tell the same', 'give one of them');
  const text = watts ? watts.replace(/\bidle=/, '0:').replace(/\bmax=/, '1:') : (points ?? '');
  const parsed = text.split(',').map((each): MeasuredPoint => {
    const match = /^\s*(\d*\.?\d+)\s*:\s*(\d*\.?\d+)\s*$/.exec(each);
    const point = { utilisation: Number(match?.[1]), watts: Number(match?.[2]), seconds: 1 };
    if (match && point.utilisation <= 1 && point.watts > 0) return point;
    throw new WrongUse(
      `${JSON.stringify(each.trim())} is not a part of full load (0 to 1) and its watts`,
      'for example --watts idle=12,max=55 or --points 0:12,0.5:31,1:47',
    );
  });
  const distinct = new Set(parsed.map(({ utilisation }) => utilisation)).size;
  if (distinct < parsed.length || distinct < 2)
    throw new WrongUse('each load is told once, and at least two are', 'for example --watts idle=12,max=55');
  return {
    points: parsed,
    sensor: 'typed watts',
    covers: 'wall',
    uncertainty: typedUncertainty,
    platformFactor: null,
  };
}

async function measure(
  { meter: wanted, seconds, force }: Options,
  config: Config,
  host: Host,
  terminal: Terminal,
): Promise<Measured> {
  const meter = await sensorOf({ ...config.energy, ...(wanted ? { meter: wanted } : {}) });
  const progress = progressLine(terminal);
  try {
    progress.update('looking whether the host is quiet …');
    const others = await quietness(() => host.cpu());
    if (others > busy.refused && !force) throw notQuiet(others);
    if (others > busy.noted)
      progress.update(
        `other programs use ${Math.round(others * 100)} % of the CPUs: the curve is less exact`,
      );
    const rapl = meter.name.startsWith('rapl') ? null : openRapl();
    const beside = rapl && 'meter' in rapl ? rapl.meter : undefined;
    const points = await measureLoads({
      meter,
      beside,
      cpu: () => host.cpu(),
      seconds,
      progress: (load, step) =>
        progress.update(
          `${step + 1} of ${loads.length}: ${load * 100} % load, ${seconds} s, by ${meter.name}`,
        ),
    });
    const { name: sensor, covers, uncertainty } = meter;
    return { points, sensor, covers, uncertainty, platformFactor: factorOf(points) };
  } finally {
    progress.end();
    await meter.stop?.();
  }
}

async function sensorOf(config: MeterConfig): Promise<Meter> {
  const notUsed: NotUsed[] = [];
  const asked =
    config.meter === 'cpu-time' || config.meter === 'off' ? { ...config, meter: 'auto' as const } : config;
  const meter = await openHostSensor(asked, {}, notUsed);
  if (meter) return meter;
  throw new CommonwattError(
    'INVALID_CONFIG',
    `this host has no sensor to calibrate with: ${notUsed.map(({ unavailable }) => unavailable).join('; ')}`,
    {
      hint: 'put a plug meter in front of it and type what it shows: commonwatt calibrate --watts idle=12,max=55',
    },
  );
}

function notQuiet(others: number): CommonwattError {
  return new CommonwattError(
    'CONFLICT',
    `other programs use ${Math.round(others * 100)} % of the CPUs: what they draw would be taken for idle`,
    { hint: 'stop them and calibrate again, or accept it with --force' },
  );
}

/** What the outer meter shows for each watt of RAPL, over all loads. */
function factorOf(points: readonly LoadPoint[]): number | null {
  const both = points.filter(({ besideW }) => besideW !== null);
  const rapl = both.reduce((sum, { besideW }) => sum + (besideW ?? 0), 0);
  return rapl > 0 ? both.reduce((sum, { watts }) => sum + watts, 0) / rapl : null;
}

function resultOf(
  { points, sensor, covers, uncertainty, platformFactor }: Measured,
  config: Config,
  host: Host,
) {
  const cpuinfo = host.cpuInfo();
  const before = hostWatts(config.energy, {
    cpuCount: host.cpuCount,
    memoryBytes: host.memoryBytes,
    architecture: cpuinfo === null ? null : architectureOf(cpuinfo),
  });
  const straight =
    before.curve ??
    ([
      [0, before.idleW],
      [1, before.maxW],
    ] as const);
  const calibration: Calibration = {
    version: 1,
    at: new Date().toISOString(),
    processor: cpuinfo === null ? null : processorName(cpuinfo),
    cpuCount: host.cpuCount,
    sensor,
    covers,
    error: round(statedError(points, uncertainty), 1000),
    curve: fitCurve(points).map(([u, watts]) => [round(u, 1000), round(watts, 100)]),
  };
  return {
    calibration,
    points,
    error: {
      before: relativeError(points, (u) => wattsAt(straight, u)),
      /** Each load told from the others; null: there are only two. */
      after: leaveOneOutError(points),
      stated: calibration.error,
    },
    platformFactor: platformFactor === null ? null : round(platformFactor, 100),
  };
}

const round = (value: number, steps: number) => Math.round(value * steps) / steps;
const percent = (value: number) => `${Math.round(value * 100)} %`;

function linesOf(
  { points, sensor, covers }: Measured,
  { calibration, error, platformFactor }: ReturnType<typeof resultOf>,
  file: string | null,
  { energy }: Config,
): string[] {
  const seen = points.map(({ utilisation }) => utilisation);
  const [seenFrom, seenTo] = [Math.min(...seen), Math.max(...seen)];
  const configured = energy.idleW !== null || energy.maxW !== null || energy.curve !== null;
  return [
    `by ${sensor}, which covers ${covers === 'cpu' ? 'the CPU only' : covers === 'wall' ? 'everything at the wall' : 'the machine'}:`,
    ...table([
      ['CPUs busy', 'measured', 'curve'],
      ...points.map(({ utilisation, watts }) => [
        percent(utilisation),
        `${watts.toFixed(1)} W`,
        `${wattsAt(calibration.curve, utilisation).toFixed(1)} W`,
      ]),
    ]),
    `error of the estimate before: ${percent(error.before)}`,
    error.after === null
      ? 'error after: cannot be tried with two loads'
      : `error after, each load told from the others: ${percent(error.after)}`,
    `stated from now on: ±${percent(error.stated)}`,
    ...(seenFrom > endsAt.low || seenTo < endsAt.high
      ? [
          `the host was only seen from ${percent(seenFrom)} to ${percent(seenTo)} busy: calibrate again when it is quiet`,
        ]
      : []),
    ...(platformFactor === null
      ? []
      : [
          `${sensor} shows ${platformFactor} times what RAPL counts: COMMONWATT_PLATFORM_FACTOR=${platformFactor} for RAPL`,
        ]),
    ...(file === null
      ? ['for commonwatt.yaml:', 'energy:', `  curve: ${JSON.stringify(calibration.curve)}`]
      : [`kept in ${file}: used from the next start on where nothing measures`]),
    ...(configured && file !== null
      ? ['it is not used while COMMONWATT_IDLE_W, COMMONWATT_MAX_W or energy.curve are set']
      : []),
  ];
}
