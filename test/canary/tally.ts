/** What became of every request: each has exactly one outcome, and every answer has an id of its own. */
export interface Answered {
  rows: number;
  /** computed, cached or joined; undefined where the protocol does not say. */
  source: string | undefined;
}

const mostViolations = 20;

export class Tally {
  sent = 0;
  rows = 0;
  /** The client left, so that it does not know. */
  abandoned = 0;
  readonly answers = new Map<string, Answered>();
  /** Id → status. */
  readonly refusals = new Map<string, number>();
  /** `protocol status` → how often. */
  readonly outcomes = new Map<string, number>();
  /** Refused because their time was over. */
  late = 0;
  readonly violations: string[] = [];

  answered(protocol: string, id: string, answer: Answered): void {
    this.#count(`${protocol} answered`);
    if (id === '' || this.answers.has(id) || this.refusals.has(id))
      this.violate(`request id ${id} was used twice`);
    this.answers.set(id, answer);
    this.rows += answer.rows;
  }

  refused(protocol: string, status: number, id: string): void {
    this.#count(`${protocol} ${status}`);
    if (status === 504) this.late++;
    if (id === '') return;
    if (this.answers.has(id) || this.refusals.has(id)) this.violate(`request id ${id} was used twice`);
    this.refusals.set(id, status);
  }

  left(protocol: string): void {
    this.#count(`${protocol} left`);
    this.abandoned++;
  }

  violate(what: string): void {
    if (this.violations.length < mostViolations) this.violations.push(what.slice(0, 600));
  }

  get hopeless(): boolean {
    return this.violations.length >= mostViolations;
  }

  bySource(source: string): number {
    let count = 0;
    for (const answer of this.answers.values()) if (answer.source === source) count++;
    return count;
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}
