/**
 * Which rows of a batch are computed together. Every row is padded to the longest of its group, and what is padded is
 * computed for nothing: rows are taken by length, and a group ends where going on would waste too much.
 */

/** Tokens of a group, padding included: bounds the memory of attention (its square for a single row). */
const mostTokens = 16_384;
/**
 * Padding that a group may have: a share of its tokens, and always so many tokens as a run costs by itself. (Six layers
 * of 384 on one core: 6 ms to read the weights for a run, 0.4 ms for each token; padded to the longest, batches of mixed
 * lengths cost more than their texts one by one.)
 */
const wasteShare = 0.04;
const wasteTokens = 16;

export interface GroupLimits {
  /** false: the model cannot tell padding from text, so only rows of equal length go together. */
  mayPad: boolean;
  fixedRows: number | null;
}

/** Indices of the rows, group by group. */
export function groupsOf(lengths: readonly number[], { mayPad, fixedRows }: GroupLimits): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0));
  const groups: number[][] = [];
  let group: number[] = [];
  let tokens = 0;
  for (const index of order) {
    const length = lengths[index] ?? 0;
    const padded = length * (group.length + 1);
    const waste = padded - tokens - length;
    const fits =
      group.length < (fixedRows ?? Number.POSITIVE_INFINITY) &&
      padded <= mostTokens &&
      waste <= (mayPad ? Math.max(wasteTokens, padded * wasteShare) : 0);
    if (group.length > 0 && !fits) {
      groups.push(group);
      group = [];
      tokens = 0;
    }
    group.push(index);
    tokens += length;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
