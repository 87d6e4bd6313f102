/** How a text pipeline is computed: which of the model's inputs is what, and what the tokenizer's files say. */
import { z } from 'zod';
import type { Feed, TextFeeds, TextManifest } from '../../runtimes/pipeline/manifest.ts';
import type { TensorSpec } from '../models.ts';
import type { Bundle } from './bundle.ts';
import { jsonOf, labelsOf, type ModelConfig, type PipelineParts, pickOutput, unfit } from './bundle-parts.ts';

const tokenizerSchema = z.looseObject({
  model: z.looseObject({ type: z.enum(['WordPiece', 'BPE', 'Unigram', 'WordLevel']).optional() }),
  added_tokens: z.array(z.looseObject({ id: z.number(), content: z.string() })).nullish(),
  padding: z
    .looseObject({
      pad_id: z.number().optional(),
      pad_type_id: z.number().optional(),
      direction: z.string().optional(),
    })
    .nullish(),
  truncation: z.looseObject({ max_length: z.number().optional() }).nullish(),
});

const tokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({
  model_max_length: z.number().nullish().catch(null),
  padding_side: z.string().nullish(),
  pad_token: tokenText,
});
const specialTokensSchema = z.looseObject({ pad_token: tokenText });
const sentenceSchema = z.looseObject({ max_seq_length: z.number().nullish() });
const poolingSchema = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
});
const modulesSchema = z.array(z.looseObject({ type: z.string() }));

/** Where nothing says how long a text may be. */
const usualLength = 512;

export function textManifest(parts: PipelineParts, task: TextManifest['task']): TextManifest {
  const { bundle, choices, config, signature } = parts;
  const tokenizer = jsonOf(bundle, 'tokenizer.json', tokenizerSchema);
  if (!tokenizer)
    throw unfit(
      'there is no tokenizer.json beside it',
      'tokenizer.json',
      'save the fast tokenizer there: AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)',
    );
  const tokenizerConfig = jsonOf(bundle, 'tokenizer_config.json', tokenizerConfigSchema) ?? {};
  const { feeds, ids } = feedsOf(signature.inputs);
  const [rows = -1, length = -1] = ids.shape;
  const vectors = task === 'feature-extraction';
  const output = pickOutput(
    parts,
    vectors ? ['sentence_embedding', 'last_hidden_state', 'token_embeddings'] : ['logits'],
  );
  const rank = vectors ? [2, 3] : task === 'token-classification' ? [3] : [2];
  if (!rank.includes(output.shape.length))
    throw unfit(
      `its output ${output.name} has ${output.shape.length} dimensions, not ${rank.join(' or ')}`,
      output.name,
    );
  const labels = vectors ? [] : labelsOf(parts, output.name);
  if (task === 'reranking' && labels.length !== 1)
    throw unfit(`it gives ${labels.length} scores, where a reranker gives one`, output.name);
  return {
    task,
    feeds,
    output: output.name,
    maxLength: Math.min(
      lengthOf(parts, tokenizer.truncation?.max_length, tokenizerConfig),
      length === -1 ? 65_536 : length,
    ),
    fixedLength: length === -1 ? null : length,
    fixedRows: rows === -1 ? null : rows,
    ...paddingOf(bundle, config, tokenizer, tokenizerConfig),
    pooling: output.shape.length === 3 && vectors ? (choices.pooling ?? poolingOf(bundle)) : null,
    normalize: choices.normalize ?? normalises(bundle),
    labels,
    activation: choices.function_to_apply ?? activationOf(task, config, labels.length),
    aggregation: choices.aggregation ?? 'simple',
  };
}

function feedsOf(inputs: readonly TensorSpec[]): { feeds: TextFeeds; ids: TensorSpec } {
  const roles = { input_ids: 'ids', attention_mask: 'mask', token_type_ids: 'types' } as const;
  for (const { name, shape, datatype } of inputs) {
    if (!(name in roles)) throw unfit(`its input ${name} is none of ${Object.keys(roles).join(', ')}`, name);
    if (shape.length !== 2 || (datatype !== 'INT64' && datatype !== 'INT32'))
      throw unfit(
        `its input ${name} is ${datatype} [${shape.join(', ')}], not INT64 or INT32 [rows, tokens]`,
        name,
      );
  }
  const ids = inputs.find(({ name }) => name === 'input_ids');
  if (!ids) throw unfit('it has no input input_ids', 'input_ids');
  const feed = (name: string): Feed | null => {
    const spec = inputs.find((input) => input.name === name);
    return spec ? { name, datatype: spec.datatype as Feed['datatype'] } : null;
  };
  return {
    ids,
    feeds: {
      ids: { name: 'input_ids', datatype: ids.datatype as Feed['datatype'] },
      mask: feed('attention_mask'),
      types: feed('token_type_ids'),
    },
  };
}

/** What is said most particularly counts; tokenizers write 10³⁰ for "no limit". */
function lengthOf(
  { bundle, choices, config }: PipelineParts,
  truncation: number | undefined,
  { model_max_length: most }: z.infer<typeof tokenizerConfigSchema>,
): number {
  const sentence = jsonOf(bundle, 'sentence_bert_config.json', sentenceSchema)?.max_seq_length;
  // RoBERTa and its like number positions from the padding's own number on.
  const shifted = /roberta|camembert|mpnet|xlm-r|longformer/.test(config.model_type ?? '') ? 2 : 0;
  const positions = (config.max_position_embeddings ?? 0) - shifted;
  const said = [choices.max_length, sentence, truncation, most, positions, usualLength].find(
    (length) => typeof length === 'number' && length >= 2 && length <= 65_536,
  );
  const bounded = positions >= 2 ? Math.min(said ?? usualLength, positions) : (said ?? usualLength);
  return Math.trunc(bounded);
}

function paddingOf(
  bundle: Bundle,
  config: ModelConfig,
  tokenizer: z.infer<typeof tokenizerSchema>,
  tokenizerConfig: z.infer<typeof tokenizerConfigSchema>,
): Pick<TextManifest, 'padId' | 'padTypeId' | 'padLeft'> {
  const named =
    tokenizerConfig.pad_token ?? jsonOf(bundle, 'special_tokens_map.json', specialTokensSchema)?.pad_token;
  const token = typeof named === 'string' ? named : named?.content;
  const added = tokenizer.added_tokens?.find(({ content }) => content === token)?.id;
  const side = tokenizerConfig.padding_side ?? tokenizer.padding?.direction ?? 'right';
  return {
    // Without any, 0: padding is masked, so that its number never tells.
    padId: added ?? tokenizer.padding?.pad_id ?? config.pad_token_id ?? 0,
    padTypeId: tokenizer.padding?.pad_type_id ?? 0,
    padLeft: side.toLowerCase() === 'left',
  };
}

/** As sentence-transformers wrote it down; the mean where nothing did. */
function poolingOf(bundle: Bundle): 'mean' | 'cls' {
  const said = jsonOf(bundle, '1_Pooling/config.json', poolingSchema);
  if (!said || said.pooling_mode_mean_tokens) return 'mean';
  if (said.pooling_mode_cls_token) return 'cls';
  throw unfit(
    '1_Pooling/config.json asks for a pooling that is neither the mean nor the first token',
    '1_Pooling/config.json',
    'name one in commonwatt.yaml (pooling: mean), or export the model with its pooling as output sentence_embedding',
  );
}

function normalises(bundle: Bundle): boolean {
  const modules = jsonOf(bundle, 'modules.json', modulesSchema) ?? [];
  return modules.some(({ type }) => type.endsWith('Normalize'));
}

function activationOf(
  task: TextManifest['task'],
  config: ModelConfig,
  labels: number,
): TextManifest['activation'] {
  if (config.function_to_apply) return config.function_to_apply;
  if (task === 'token-classification') return 'softmax';
  if (config.problem_type === 'regression') return 'none';
  return config.problem_type === 'multi_label_classification' || labels === 1 ? 'sigmoid' : 'softmax';
}
