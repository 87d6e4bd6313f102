/** Whole numbers from 0 on in few bytes: seven bits in each, the last one below 128. */
export function putInteger(bytes: number[], value: number): void {
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
}

/** Each call gives the next one. */
export function integerReader(bytes: Uint8Array): { next(): number; more(): boolean } {
  let at = 0;
  return {
    more: () => at < bytes.length,
    next() {
      let value = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = bytes[at++] ?? 0;
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
    },
  };
}
