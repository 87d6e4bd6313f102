/**
 * Makes examples/digits/digits.csv (or the file named as argument) from the development dependency `mnist`: always the same file, byte for byte.
 *
 * Each 28 × 28 image is padded with one row or column of background on every side to 30 × 30 and averaged in
 * blocks of 3 × 3, which gives 10 × 10 = 100 features p0 … p99, row by row, 0 (background) to 1 (ink). The label
 * `even` is 1 when the digit is 0, 2, 4, 6 or 8. The digit itself is left out: it would give the label away.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const perDigit = 220;
const seed = 42;
const target = process.argv[2] ?? fileURLToPath(new URL('../examples/digits/digits.csv', import.meta.url));

const random = mulberry32(seed);
const rows = [];
const seen = new Set();
for (let digit = 0; digit < 10; digit++) {
  const images = readImages(digit);
  let taken = 0;
  for (const index of shuffled(images.length)) {
    if (taken === perDigit) break;
    const features = pool(images[index]);
    const key = features.join(',');
    if (seen.has(key)) continue;
    seen.add(key);
    rows.push(`${key},${digit % 2 === 0 ? 1 : 0}`);
    taken++;
  }
  if (taken < perDigit) throw new Error(`only ${taken} different images of the digit ${digit}`);
}
const header = [...Array.from({ length: 100 }, (_, i) => `p${i}`), 'even'].join(',');
const csv = `${[header, ...shuffled(rows.length).map((index) => rows[index])].join('\n')}\n`;
writeFileSync(target, csv);
console.log(`${target}: ${rows.length} rows, ${Buffer.byteLength(csv)} bytes`);

/** The images of one digit, 784 grey values 0 … 1 each. */
function readImages(digit) {
  const file = new URL(import.meta.resolve(`mnist/src/digits/${digit}.json`));
  const { data } = JSON.parse(readFileSync(file, 'utf8'));
  return Array.from({ length: Math.floor(data.length / 784) }, (_, i) => data.slice(i * 784, (i + 1) * 784));
}

/** Rounded to two decimals, which keeps the file small and changes no feature by more than .005. */
function pool(image) {
  const features = [];
  for (let top = -1; top < 28; top += 3)
    for (let left = -1; left < 28; left += 3) {
      let sum = 0;
      for (let y = top; y < top + 3; y++)
        for (let x = left; x < left + 3; x++)
          if (y >= 0 && y < 28 && x >= 0 && x < 28) sum += image[y * 28 + x];
      features.push(Math.round((sum / 9) * 100) / 100);
    }
  return features;
}

/** 0 … length − 1 in random order (Fisher–Yates). */
function shuffled(length) {
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** mulberry32 by Tommy Ettinger (public domain): uniform in [0, 1). */
function mulberry32(state) {
  let a = state >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
