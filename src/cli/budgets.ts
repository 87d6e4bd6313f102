/** `commonwatt budgets`: what may be used in a period, and how much of it is. */
import type { Budget, BudgetPrice, BudgetSubjectKind, BudgetUnit } from '@commonwatt/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { showPercent, significant } from './quantities.ts';
import { answer, type Terminal, table } from './terminal.ts';

type Mode = Budget['mode'];

interface Amount {
  amount: number;
  unit: BudgetUnit;
  currency: string | null;
  period: Budget['period'];
}

interface Choices {
  mode?: Mode | undefined;
  warnAt?: number | null | undefined;
  stopsJobs?: boolean | undefined;
}

interface SetOptions extends ServerOptions, Choices {
  of?: { kind: BudgetSubjectKind; name: string };
  price: BudgetPrice[];
}

const kinds: readonly BudgetSubjectKind[] = ['key', 'member', 'organisation', 'grant', 'model'];
/** As the words are written at the prompt. */
const units: ReadonlyMap<string, BudgetUnit> = new Map([
  ['requests', 'requests'],
  ['rows', 'rows'],
  ['Wh', 'energyWh'],
  ['gCO2e', 'carbonGCo2e'],
]);

export function define(command: Command, terminal: Terminal): void {
  command.addHelpText('after', examples).action((options: ServerOptions) => list(options, terminal));
  command
    .command('list')
    .description('show budgets and what is used of them')
    .action((_: unknown, self: Command) => list(self.optsWithGlobals<ServerOptions>(), terminal));
  command
    .command('set')
    .description('set a budget, or change one: give its id')
    .argument('<amount/period>', 'e.g. 50Wh/day, 20gCO2e/hour, 1000requests/month, 5EUR/day', parseAmount)
    .argument('[id]', 'of the budget to change')
    .option(
      '--of <kind:name>',
      'key:<id>, member:<name>, organisation:<name>, grant:<id>, model:<org/model>',
      parseOf,
    )
    .addOption(
      new Option('--mode <mode>', 'hard refuses (default), soft warns, shadow only counts').choices([
        'hard',
        'soft',
        'shadow',
      ]),
    )
    .option(
      '--warn-at <percent>',
      'from how much on callers are warned, or "never" (default: 80)',
      parseWarnAt,
    )
    .option('--stops-jobs', 'jobs that run are ended, too, once it is used up')
    .option(
      '--price <text>',
      'of money, may be given again: [org/model | org =] number per request, row or Wh',
      parsePrice,
      [],
    )
    .addHelpText('after', examples)
    .action(async (amount: Amount, id: string | undefined, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<SetOptions>();
      const budget =
        id === undefined
          ? await create(amount, options, terminal)
          : await change(id, amount, options, terminal);
      answer(terminal, options.json, budget, [`${describe(budget)} (budget ${budget.id})`]);
    });
  command
    .command('remove')
    .description('remove a budget')
    .argument('<id>')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      await connect(options, terminal).budgets.remove(id);
      answer(terminal, options.json, { removed: id }, [`budget ${id} is removed`]);
    });
}

const examples = `
Examples:
  $ commonwatt budgets
  $ commonwatt budgets set 50Wh/day --of organisation:acme
  $ commonwatt budgets set 1000requests/hour --of model:acme/digits --mode shadow
  $ commonwatt budgets set 5EUR/month --of member:ada --price 0.001/request --price acme/digits=0.25/Wh`;

async function list(options: ServerOptions, terminal: Terminal): Promise<void> {
  const budgets = await connect(options, terminal).budgets.list();
  answer(terminal, options.json, { budgets }, table([heading, ...budgets.map(cells)]));
}

const heading = ['ID', 'OF', 'LIMIT', 'MODE', 'USED', '', 'HELD', 'REFUSED', 'PERIOD ENDS'];

function cells(budget: Budget): string[] {
  const { id, subject, mode, used, reserved, refused, wouldHaveRefused, periodEnd } = budget;
  return [
    id,
    `${subject.kind} ${subject.name}`,
    limitText(budget),
    mode,
    significant(used),
    used === null ? '' : showPercent(used / budget.amount, 0),
    significant(reserved),
    mode === 'shadow' ? `${wouldHaveRefused} would have been` : String(refused),
    periodEnd,
  ];
}

function describe(budget: Budget): string {
  const verbs = { hard: 'may use at most', soft: 'is warned of', shadow: 'is counted against' };
  return `${budget.subject.kind} ${budget.subject.name} ${verbs[budget.mode]} ${limitText(budget)}`;
}

function limitText({ amount, unit, currency, period }: Budget): string {
  const word = [...units].find(([, each]) => each === unit)?.[0] ?? currency ?? '';
  return `${amount} ${word}/${period}`;
}

function create(
  amount: Amount,
  { of, price, mode, warnAt, stopsJobs, ...server }: SetOptions,
  terminal: Terminal,
) {
  if (!of)
    throw new WrongUse(
      'a budget of what?',
      `give --of with one of ${kinds.join(', ')}, e.g. --of organisation:acme`,
    );
  return connect(server, terminal).budgets.set({
    subject: of,
    ...amount,
    prices: price.length > 0 ? price : null,
    ...given({ mode, warnAt, stopsJobs }),
  });
}

async function change(
  id: string,
  asked: Amount,
  { of, price, mode, warnAt, stopsJobs, ...server }: SetOptions,
  terminal: Terminal,
) {
  if (of) throw new WrongUse('what a budget is of cannot be changed', 'remove it, and set another');
  const { budgets } = connect(server, terminal);
  const before = (await budgets.list()).find((budget) => budget.id === id);
  const { amount, unit, currency, period } = asked;
  if (before && (before.unit !== unit || before.currency !== currency || before.period !== period))
    throw new WrongUse(
      `budget ${id} is of ${limitText(before)}`,
      'its amount can be changed; for another unit or period set another',
    );
  return budgets.change(id, {
    amount,
    ...(price.length > 0 ? { prices: price } : {}),
    ...given({ mode, warnAt, stopsJobs }),
  });
}

/** What was not given stays as it is. */
function given({ mode, warnAt, stopsJobs }: Choices) {
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(warnAt === undefined ? {} : { warnAt }),
    ...(stopsJobs === undefined ? {} : { stopsJobs }),
  };
}

const number = String.raw`\d+(?:\.\d+)?(?:e-?\d+)?`;

export function parseAmount(text: string): Amount {
  const [, amount = '', word = '', period] =
    new RegExp(`^(${number}) ?([A-Za-z0-9]+)/(hour|day|month)$`, 'i').exec(text) ?? [];
  const unit = units.get(word) ?? (/^[A-Z]{3}$/.test(word) ? 'money' : undefined);
  const per = period?.toLowerCase();
  if (
    !unit ||
    !(Number(amount) > 0 && Number(amount) < 1e15) ||
    (per !== 'hour' && per !== 'day' && per !== 'month')
  )
    throw new InvalidArgumentError(
      `write it like 50Wh/day; units are ${[...units.keys()].join(', ')} or a currency (EUR), periods hour, day, month`,
    );
  return { amount: Number(amount), unit, currency: unit === 'money' ? word : null, period: per };
}

export function parseOf(text: string): { kind: BudgetSubjectKind; name: string } {
  const [, word, name] = /^([a-z]+):(.+)$/.exec(text) ?? [];
  const kind = kinds.find((each) => each === word);
  if (kind && name) return { kind, name };
  throw new InvalidArgumentError(`write kind:name; kinds are ${kinds.join(', ')}`);
}

/** `0.001/request`, `acme=0.2/Wh`, `acme/digits=1e-6/row`. */
export function parsePrice(text: string, before: BudgetPrice[]): BudgetPrice[] {
  const [, of, amount = '', per] = new RegExp(`^(?:([^=]+)=)?(${number})/(request|row|Wh)$`).exec(text) ?? [];
  if (!per)
    throw new InvalidArgumentError(
      'write it like 0.001/request or acme/digits=0.25/Wh; per request, row or Wh',
    );
  const field = { request: 'perRequest', row: 'perRow', Wh: 'perWh' }[per] ?? 'perRequest';
  const known = before.find((price) => price.of === of);
  const price = { ...(known ?? (of === undefined ? {} : { of })), [field]: Number(amount) };
  return known ? before.map((each) => (each === known ? price : each)) : [...before, price];
}

export function parseWarnAt(text: string): number | null {
  if (text === 'never') return null;
  const percent = Number(text.replace(/ ?%$/, ''));
  if (text.trim() !== '' && percent > 0 && percent <= 100) return percent / 100;
  throw new InvalidArgumentError('write a part in percent, e.g. 80, or "never"');
}
