/** Labels of tokens as the entities of a text, in Hugging Face's form; label O, nothing, is left out. */
import type { Tokenizer } from '@huggingface/tokenizers';
import { type Span, spansOf } from './offsets.ts';
import type { TokenRow } from './tokens.ts';
import { indexOfMost } from './values.ts';

export interface EntityRequest {
  text: string;
  row: TokenRow;
  /** Of each token, over the labels. */
  scores: readonly Float32Array[];
  labels: readonly string[];
  aggregation: 'none' | 'simple';
  tokenizer: Tokenizer;
}

interface Labelled extends Span {
  label: string;
  score: number;
  index: number;
}

export function entitiesOf(request: EntityRequest): object[] {
  const { text, row, scores, labels, aggregation, tokenizer } = request;
  const characters = [...text];
  const word = ({ start, end }: Span) => characters.slice(start, end).join('');
  const spans = spansOf(text, row.tokens, tokenizer);
  const labelled = scores.map((ofToken, token): Labelled => {
    const best = indexOfMost(ofToken);
    const span = spans[token] ?? { start: 0, end: 0 };
    return {
      ...span,
      label: labels[best] ?? String(best),
      score: ofToken[best] ?? 0,
      index: row.from + token,
    };
  });
  if (aggregation === 'none')
    return labelled
      .filter(({ label }) => label !== 'O')
      .map(({ label, score, index, start, end }) => ({
        entity: label,
        score,
        index,
        word: word({ start, end }),
        start,
        end,
      }));
  return joined(labelled)
    .filter(([first]) => first.label !== 'O')
    .map((group) => {
      const span = { start: group[0].start, end: group.at(-1)?.end ?? group[0].end };
      const score = group.reduce((sum, entity) => sum + entity.score, 0) / group.length;
      return { entity_group: tagOf(group[0].label).tag, score, word: word(span), ...span };
    });
}

type Group = [Labelled, ...Labelled[]];

/** Neighbours with the same tag belong together, unless the later one begins anew (B-). */
function joined(labelled: readonly Labelled[]): Group[] {
  const groups: Group[] = [];
  for (const entity of labelled) {
    const last = groups.at(-1);
    const { begins, tag } = tagOf(entity.label);
    if (last && !begins && tagOf(last.at(-1)?.label ?? '').tag === tag) last.push(entity);
    else groups.push([entity]);
  }
  return groups;
}

function tagOf(label: string): { begins: boolean; tag: string } {
  const marked = label.startsWith('B-') || label.startsWith('I-');
  return { begins: label.startsWith('B-'), tag: marked ? label.slice(2) : label };
}
