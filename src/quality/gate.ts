/**
 * The quality gate: what an evaluation must show before the alias `production` may move to a version. Pure.
 *
 * Rules are thresholds on a metric or on its change against the incumbent. A gate in which no rule ran fails:
 * nothing checked is not a pass.
 */
import { CommonwattError } from '../errors.ts';
import { quote } from '../models/names.ts';
import { largerIsBetter, type MetricName, type MetricValues, metricNames } from './metrics.ts';

/** Bounds of one metric; at least one of them. */
interface GateRule {
  /** value ≥ min */
  min?: number;
  /** value ≤ max */
  max?: number;
  /** value > above: for what even an answer without information reaches, such as ROC-AUC .5. */
  above?: number;
  /** Least improvement over the incumbent, in the metric's own unit; a smaller log loss is an improvement. */
  minGain?: number;
}

/** `accuracyOverMajority`: accuracy − majority-class accuracy. `rocAucLow`: the lower end of ROC-AUC's interval. */
export const gateMetricNames = [...metricNames, 'accuracyOverMajority', 'rocAucLow'] as const;
type GateMetric = (typeof gateMetricNames)[number];

export type GateRules = Partial<Record<GateMetric, GateRule>>;

/** Used when none is configured: clearly better than always answering the majority class, and than chance. */
export const defaultGate: GateRules = {
  accuracyOverMajority: { min: 0.05 },
  rocAucLow: { above: 0.5 },
};

interface RuleResult extends GateRule {
  metric: GateMetric;
  value: number | null;
  /** The incumbent's value; only on rules with minGain. */
  incumbent?: number | null;
  /** null: the rule did not run; the reason says why. */
  passed: boolean | null;
  reason?: string;
}

export interface GateResult {
  passed: boolean;
  rules: RuleResult[];
  /** Why a gate failed although no rule did. */
  reason?: string;
}

/** What a gate judges: the metrics of an evaluation. */
export interface Measured {
  metrics: MetricValues;
  majorityClassAccuracy: number;
}

const bounds = ['min', 'max', 'above', 'minGain'] as const satisfies readonly (keyof GateRule)[];

/** Reads a gate from JSON. Throws INVALID_REQUEST naming the metric, and the ones that are known. */
export function parseGate(json: unknown): GateRules {
  if (!isObject(json)) {
    throw invalid('gate', 'a gate is an object of rules', 'write for example {"accuracy": {"min": 0.9}}');
  }
  const rules: GateRules = {};
  for (const [name, rule] of Object.entries(json)) {
    const metric = gateMetricNames.find((known) => known === name);
    if (!metric) {
      throw invalid(
        `gate.${name.slice(0, 80)}`,
        `${quote(name)} is not a metric a gate can check`,
        `known metrics: ${gateMetricNames.join(', ')}`,
      );
    }
    rules[metric] = parseRule(metric, rule);
  }
  return rules;
}

function parseRule(metric: GateMetric, json: unknown): GateRule {
  const where = `gate.${metric}`;
  const hint = `give numbers for at least one of ${bounds.join(', ')}, e.g. {"min": 0.9}`;
  if (!isObject(json) || Object.keys(json).length === 0) {
    throw invalid(where, `the rule for ${metric} has no bound`, hint);
  }
  const rule: GateRule = {};
  for (const [name, value] of Object.entries(json)) {
    const bound = bounds.find((known) => known === name);
    if (!bound) throw invalid(where, `${quote(name)} is not a bound of a rule`, hint);
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw invalid(`${where}.${bound}`, `${bound} of ${metric} is not a finite number`, hint);
    }
    rule[bound] = value;
  }
  if (rule.min !== undefined && rule.max !== undefined && rule.min > rule.max) {
    throw invalid(where, `min ${rule.min} is above max ${rule.max}: no value can pass`, 'swap the two');
  }
  return rule;
}

/**
 * Judges an evaluation. `incumbent` is the evaluation, on the same split of the same data set, of the version
 * that serves now; null when there is none, and then rules with only `minGain` do not run.
 */
export function judge(rules: GateRules, candidate: Measured, incumbent: Measured | null): GateResult {
  const results: RuleResult[] = [];
  for (const metric of gateMetricNames) {
    const rule = rules[metric];
    if (rule) results.push(judgeRule(metric, rule, candidate, incumbent));
  }
  const ran = results.filter((result) => result.passed !== null);
  if (ran.length === 0) {
    return { passed: false, rules: results, reason: 'no rule ran, and nothing checked is not a pass' };
  }
  return { passed: ran.every((result) => result.passed), rules: results };
}

function judgeRule(
  metric: GateMetric,
  rule: GateRule,
  candidate: Measured,
  incumbent: Measured | null,
): RuleResult {
  const { value, unknown } = measuredValue(metric, candidate);
  const result = { metric, ...rule, value };
  if (value === null) {
    return { ...result, passed: false, reason: unknown ?? `${metric} is not known` };
  }
  const thresholds =
    (rule.min === undefined || value >= rule.min) &&
    (rule.max === undefined || value <= rule.max) &&
    (rule.above === undefined || value > rule.above);
  if (rule.minGain === undefined) return { ...result, passed: thresholds };
  const before = incumbent && measuredValue(metric, incumbent).value;
  if (before === null) {
    const hasThreshold = rule.min !== undefined || rule.max !== undefined || rule.above !== undefined;
    return {
      ...result,
      incumbent: null,
      passed: hasThreshold ? thresholds : null,
      reason: 'minGain was not checked: no other version in production was evaluated on this split',
    };
  }
  const gain = largerWins(metric) ? difference(value, before) : difference(before, value);
  return { ...result, incumbent: before, passed: thresholds && gain >= rule.minGain };
}

function measuredValue(
  metric: GateMetric,
  { metrics, majorityClassAccuracy }: Measured,
): { value: number | null; unknown: string | undefined } {
  switch (metric) {
    case 'accuracyOverMajority': {
      const accuracy = metrics.accuracy.value;
      return {
        value: accuracy === null ? null : difference(accuracy, majorityClassAccuracy),
        unknown: metrics.accuracy.unknown,
      };
    }
    case 'rocAucLow':
      return { value: metrics.rocAuc.low, unknown: metrics.rocAuc.unknown };
    default:
      return { value: metrics[metric].value, unknown: metrics[metric].unknown };
  }
}

/** Without the last bits of floating point, so that .95 is .05 above .9. */
function difference(left: number, right: number): number {
  return Math.round((left - right) * 1e12) / 1e12;
}

function largerWins(metric: GateMetric): boolean {
  const base: MetricName | undefined = metricNames.find((name) => name === metric);
  return base === undefined || largerIsBetter[base];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(where: string, message: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', message, { where, hint });
}
