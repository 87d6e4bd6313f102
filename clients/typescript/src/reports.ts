/** Figures to hand on: impact cards of models, statements of months, SCI scores, manifests of the Impact Framework. */
import type { Burden, Figure, Percentiles, Quality } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

interface KnownAs {
  quality: Quality;
  method: string;
  methodVersion: string;
  zone: string;
}

/** Why a figure is null, by its name. */
type Unknown = Record<string, string>;

/** What the training of a version used, and what an inference with it uses. */
export interface ImpactCard {
  model: string;
  owner: string;
  version: number;
  versionId: string;
  sha256: string;
  createdAt: string;
  asOf: string;
  training:
    | (KnownAs & {
        jobId: string | null;
        used: Burden;
        allocated: Burden | null;
        waterL: Figure;
        cpuSeconds: Figure;
        hardware: string;
        gPerKwh: Figure;
      })
    | null;
  inference:
    | (KnownAs & {
        from: string;
        to: string;
        /** For its owner. */
        requests: number | null;
        rows: number | null;
        perRequest: Burden | null;
        perRequestAllocated: Burden | null;
        whPerRequest: Percentiles | null;
        gPerKwh: Figure;
        settled: boolean | null;
      })
    | null;
  /** As model cards of Hugging Face have it; `emissions` in grams. */
  co2_eq_emissions: {
    emissions: number;
    source: string;
    training_type: string;
    geographical_location: string;
    hardware_used: string;
  } | null;
  unknown: Unknown;
  notes: string[];
}

/** Software Carbon Intensity, ISO/IEC 21031: (E · I + M) per R. */
export interface Sci extends KnownAs {
  from: string;
  to: string;
  functionalUnit: FunctionalUnit;
  energyKwh: Figure;
  pue: number;
  gPerKwh: Figure;
  embodiedG: Figure;
  functionalUnits: number;
  operationalG: Figure;
  sciG: Figure;
  basis: 'allocation' | 'usage';
  formulaVersion: string;
  formula: string;
  source: string;
  unknown: Unknown;
  notes: string[];
}
/** job: trainings alone. */
export type FunctionalUnit = 'request' | 'row' | 'job';

interface Used {
  requests: number;
  energyWh: Figure;
  carbonGCo2e: Figure;
  embodiedGCo2e: Figure;
  allocated: Burden | null;
  waste: Burden | null;
}

/** What a month took; its rows, and its days, add up to the total. */
export interface Statement extends KnownAs {
  organisation: string;
  month: string;
  from: string;
  to: string;
  complete: boolean;
  madeAt: string;
  intensityGPerKwh: { value: Figure; source: string; kind: string };
  pue: { value: number; assumed: boolean };
  total: Used & { waterL: Figure; finished: number; jobs: number; whPerRequest: Percentiles | null };
  avoided: { requests: number; energyWh: Figure; carbonGCo2e: Figure; quality: Quality };
  rows: (Used & {
    part: 'own' | 'ready' | 'others';
    tenant: string | null;
    model: string | null;
    kind: string;
    rows: number;
    waterL: Figure;
    whPerRequest: Percentiles | null;
    settled: boolean | null;
  })[];
  days: (Used & { day: string })[];
  residualRatio: number;
  unknown: Unknown;
  notes: string[];
}

interface Window {
  from?: string | undefined;
  to?: string | undefined;
}

export type ReportResource = ReturnType<typeof reportResource>;

export function reportResource(transport: Transport) {
  const cardPath = (model: string) => `/api/v1/models/${encodeURIComponent(model)}/card`;
  const statementPath = (organisation: string, month: string) =>
    `/api/v1/statements/${encodeURIComponent(organisation)}/${encodeURIComponent(month)}`;
  return {
    /** Without `version`, of the newest. */
    card(model: string, options: CallOptions & { version?: number } = {}): Promise<ImpactCard> {
      const { version, signal } = options;
      return transport.json('GET', cardPath(model), { signal, query: { version, format: 'json' } });
    },
    /** huggingface: Markdown with `co2_eq_emissions`; spdx: SPDX 3.0.1 as JSON-LD with the AI profile. */
    cardFile(
      model: string,
      format: 'huggingface' | 'spdx',
      options: CallOptions & { version?: number } = {},
    ): Promise<ReadableStream<Uint8Array>> {
      const { version, signal } = options;
      return transport.bytes('GET', cardPath(model), { signal, query: { version, format } });
    },
    /** `month`: e.g. `2030-01`, of UTC. */
    statement(organisation: string, month: string, options?: CallOptions): Promise<Statement> {
      return transport.json('GET', statementPath(organisation, month), {
        ...options,
        query: { format: 'json' },
      });
    },
    /** The same as a page of HTML that prints on A4. */
    statementPage(
      organisation: string,
      month: string,
      options?: CallOptions,
    ): Promise<ReadableStream<Uint8Array>> {
      return transport.bytes('GET', statementPath(organisation, month), {
        ...options,
        query: { format: 'html' },
      });
    },
    sci(
      { functionalUnit, from, to }: Window & { functionalUnit?: FunctionalUnit } = {},
      options?: CallOptions,
    ): Promise<Sci> {
      return transport.json('GET', '/api/v1/impact/sci', {
        ...options,
        query: { from, to, functional_unit: functionalUnit },
      });
    },
    /** YAML that `if-run` of the Impact Framework computes again. */
    manifest(
      { step, from, to }: Window & { step?: 'hour' | 'day' } = {},
      options?: CallOptions,
    ): Promise<ReadableStream<Uint8Array>> {
      return transport.bytes('GET', '/api/v1/impact/manifest', { ...options, query: { from, to, step } });
    },
  };
}
