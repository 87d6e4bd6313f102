/** What can be taken away: the address of each file below `/api/v1`, and the name that it is saved under. */
export interface FileOf {
  path: string;
  name: string;
}

const hourMs = 3_600_000;

/** From so many days ago until now. */
export function windowOf(days: number, nowMs: number): { from: string; to: string } {
  return {
    from: new Date(nowMs - days * 24 * hourMs).toISOString(),
    to: new Date(nowMs).toISOString(),
  };
}

export function ledgerFile(format: 'csv' | 'parquet', window: { from: string; to: string }): FileOf {
  return {
    path: `ledger?${new URLSearchParams({ ...window, format })}`,
    name: `ledger-${window.from.slice(0, 10)}-${window.to.slice(0, 10)}.${format}`,
  };
}

export function manifestFile(step: 'hour' | 'day', window: { from: string; to: string }): FileOf {
  return {
    path: `impact/manifest?${new URLSearchParams({ ...window, step })}`,
    name: `manifest-${window.from.slice(0, 10)}-${window.to.slice(0, 10)}.yaml`,
  };
}

/** A month of UTC, e.g. 2026-11; a page to print, or data. */
export function statementFile(organisation: string, month: string, format: 'html' | 'json'): FileOf {
  return {
    path: `statements/${encodeURIComponent(organisation)}/${encodeURIComponent(month)}?format=${format}`,
    name: `statement-${organisation}-${month}.${format}`,
  };
}

const cardEndings = { json: 'json', huggingface: 'md', spdx: 'spdx.json' } as const;
export type CardFormat = keyof typeof cardEndings;

export function cardFile(flat: string, format: CardFormat): FileOf {
  return {
    path: `models/${encodeURIComponent(flat)}/card?format=${format}`,
    name: `${flat}-card.${cardEndings[format]}`,
  };
}
