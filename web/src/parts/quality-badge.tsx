import type { Quality } from '../server/shapes.ts';

const meaning: Record<Quality, string> = {
  measured: 'read from a sensor',
  estimated: 'computed from CPU time',
  assumed: 'computed from a constant',
};

/** Where a figure comes from; always shown beside it. */
export function QualityBadge({ quality, method }: { quality: Quality; method?: string }) {
  return (
    <span className={`badge ${quality}`} title={meaning[quality]}>
      {quality}
      {method && <span className="method"> · {method}</span>}
    </span>
  );
}
