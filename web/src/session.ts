/** The caller's API key: from the address's fragment or typed once, kept for this tab only. */

const storageKey = 'commonwatt.apiKey';

/** The key in a fragment such as `#key=cw_…`, or null. */
export function keyFromFragment(fragment: string): string | null {
  const key = new URLSearchParams(fragment.replace(/^#/, '')).get('key')?.trim();
  return key ? key : null;
}

/**
 * Takes the key from the address, where it must not stay (history, bookmarks, screenshots), or else from the tab's
 * storage. A fragment is never sent to a server.
 */
export function openSession(): string | null {
  const key = keyFromFragment(location.hash);
  if (key === null) return sessionStorage.getItem(storageKey);
  history.replaceState(null, '', location.pathname + location.search);
  rememberKey(key);
  return key;
}

export function rememberKey(key: string): void {
  sessionStorage.setItem(storageKey, key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(storageKey);
}
