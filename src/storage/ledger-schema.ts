/** The tables of the ledger: who got what, metered intervals, and their sums by hour and day. */
import type { ColumnType } from 'kysely';

type Json = string;
type Added<T> = ColumnType<T | null, T | null | undefined, T | null>;

/** What many lines share, with the names of that time; ids without foreign keys: history survives deletion. */
interface HeadColumns {
  kind: 'inference' | 'explanation' | 'evaluation' | 'training' | 'idle' | 'overhead' | 'unattributed';
  /** What kind of idle or overhead. */
  note: string | null;
  outcome: 'finished' | 'aborted' | 'failed' | 'cached';
  attribution_method: 'direct' | 'shared step' | 'proportional';
  consumer_id: string | null;
  consumer: string | null;
  owner_id: string | null;
  owner: string | null;
  model_id: string | null;
  model: string | null;
  version: number | null;
  key_id: string | null;
  member_id: string | null;
  grant_id: string | null;
  job_id: string | null;
  runner_pid: number | null;
  node: string | null;
}

interface Figures {
  rows: number;
  cpu_s: number;
  energy_j: number;
  idle_share_j: number;
  carbon_g: number;
  embodied_g: number;
  /** Null: unknown. */
  water_l: number | null;
  /** What reusing another's answer avoided, estimated; in no sum of what was used. */
  avoided_j: number;
  avoided_g: number;
  /** What was reserved for it; null: booked before this was kept. */
  allocated_j: number | null;
  allocated_g: number | null;
  allocated_embodied_g: number | null;
}

/** Sums of lines. */
interface SumColumns
  extends Omit<Figures, 'water_l' | 'allocated_j' | 'allocated_g' | 'allocated_embodied_g'> {
  head: number;
  entries: number;
  /** Inferences, and explanations and evaluations that appear in this hour with this head (`ledger_repeats`). */
  requests: number;
  reused: number;
  /** Of the lines where it is known; how many it is not known of. */
  water_l: number;
  water_unknown: number;
  allocated_j: number;
  allocated_g: number;
  allocated_embodied_g: number;
  allocated_unknown: number;
  /** Joules of single inferences, log-spaced (energy/store/histogram.ts). */
  histogram: Uint8Array | null;
}

export interface LedgerSchema {
  /** One metered interval; Σ lines of it = its totals, to 1e-9. */
  ledger_intervals: {
    id: string;
    start_ms: number;
    end_ms: number;
    energy_j: number;
    carbon_g: number;
    embodied_g: number;
    /** Null: unknown; the reason is in `basis`. */
    water_l: number | null;
    quality: 'measured' | 'estimated' | 'assumed';
    method: string;
    method_version: string;
    /** Grid value and its source, PUE, WUE, idle and maximum watts, reasons of what is null. */
    basis: Json;
    /** Supply and use of each resource, for RUR. */
    cpu_s_supplied: number;
    cpu_s_used: number;
    cpu_s_other: number;
    memory_gbs_supplied: number;
    memory_gbs_reserved: number;
    memory_gbs_used: number;
    node: Added<string>;
    /** The grid's value over the interval. */
    zone: Added<string>;
    intensity_g_per_kwh: Added<number>;
    signal: Added<'average' | 'marginal'>;
    scope: Added<'life-cycle' | 'direct'>;
    /** The accelerators' part of the energy. */
    accelerator_j: Added<number>;
    /** Device seconds; null: no meter tells. */
    accelerator_s_supplied: Added<number>;
    accelerator_s_reserved: Added<number>;
    accelerator_s_used: Added<number>;
  };
  ledger_heads: HeadColumns & { id: ColumnType<number, never, never>; key: string };
  /** There for readers when its interval is; otherwise being written, or in the archive and about to be deleted. */
  ledger_lines: Figures & { id: string; interval_id: string; head: number; at_ms: number };
  /** A view: the lines that are there and not in the archive, with their heads. */
  ledger_entries: Readonly<HeadColumns & Figures & { id: string; interval_id: string; at_ms: number }>;
  /** Lines by the hour (since the epoch) in which their interval starts. */
  ledger_hours: SumColumns & { hour: number };
  /** The same by day, made of the hours of days in `ledger_folded`; `hours`: bit n is hour n. */
  ledger_days: SumColumns & { day: number; hours: number };
  ledger_folded: { day: number };
  /** Explanations and evaluations that are in the sums of more than one hour or head, so that each counts once. */
  ledger_repeats: { request: string; hour: number; head: number };
  /** Sums of `ledger_intervals`. */
  ledger_interval_hours: {
    hour: number;
    node: string;
    quality: string;
    method: string;
    method_version: string;
    zone: string;
    signal: string;
    scope: string;
    intervals: number;
    duration_ms: number;
    energy_j: number;
    carbon_g: number;
    embodied_g: number;
    water_l: number;
    water_unknown: number;
    /** Σ intensity · energy, of the energy whose intensity is known, gCO2e/kWh · J. */
    intensity_j: number;
    intensity_known_j: number;
    accelerator_j: number;
    accelerator_s_supplied: number;
    accelerator_s_reserved: number;
    accelerator_s_used: number;
    cpu_s_supplied: number;
    cpu_s_used: number;
    cpu_s_other: number;
    memory_gbs_supplied: number;
    memory_gbs_reserved: number;
    memory_gbs_used: number;
  };
  /** Old intervals with all their lines, packed (energy/store/pack.ts). */
  ledger_archive: {
    hour: number;
    part: number;
    /** Starts of its first and last interval. */
    from_ms: number;
    to_ms: number;
    /** Least and greatest id of its lines of requests, and of its intervals. */
    first_id: string;
    last_id: string;
    first_interval: string;
    last_interval: string;
    lines: number;
    packed: Uint8Array;
  };
  /** Intervals in the archive whose lines are still to be deleted. */
  ledger_garbage: { interval_id: string };
  /** Hours whose lines were dropped for good; their sums stay. */
  ledger_dropped: { hour: number };
}
