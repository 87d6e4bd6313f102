/**
 * Reads JSON as the protocol needs it: valid UTF-8, and integers that a double cannot hold are kept whole.
 */
import { isUtf8 } from 'node:buffer';
import { CommonwattError } from '../../errors.ts';

/** `wholeIntegers`: see `keepLongIntegers`. Throws MALFORMED_JSON. */
export function parseJson(bytes: Buffer, wholeIntegers: boolean): unknown {
  if (bytes.length === 0)
    throw new CommonwattError('MALFORMED_JSON', 'the request has no body', {
      hint: 'send a JSON object with "inputs"',
    });
  checkDepth(bytes);
  if (!isUtf8(bytes)) throw new CommonwattError('MALFORMED_JSON', 'the body is not valid UTF-8');
  const text = bytes.toString('utf8');
  try {
    return JSON.parse(wholeIntegers && longDigits.test(text) ? keepLongIntegers(text) : text);
  } catch (cause) {
    throw new CommonwattError(
      'MALFORMED_JSON',
      `the body is not valid JSON: ${(cause as Error).message.slice(0, 120)}`,
      { hint: 'NaN and Infinity have no JSON form', cause },
    );
  }
}

const quotation = 0x22;
const backslash = 0x5c;
const minus = 0x2d;
const openArray = 0x5b;
const openObject = 0x7b;

/** As Triton's. */
const maxDepth = 100;
/** In so few bytes no depth takes long. */
const shallowBytes = 4096;

/** `JSON.parse` takes seconds and gigabytes for megabytes of brackets within brackets. */
function checkDepth(bytes: Buffer): void {
  if (bytes.length <= shallowBytes) return;
  if (occurs(bytes, openArray, maxDepth) || occurs(bytes, openObject, maxDepth)) scanDepth(bytes);
}

/** Does the byte stand there at least so often? Found natively: flat tensors, however large, cost next to nothing. */
function occurs(bytes: Buffer, byte: number, times: number): boolean {
  let at = -1;
  for (let count = 0; count < times; count++) {
    at = bytes.indexOf(byte, at + 1);
    if (at < 0) return false;
  }
  return true;
}

function scanDepth(bytes: Buffer): void {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === quotation) quoted = !quoted;
    else if (quoted) at += byte === backslash ? 1 : 0;
    else if (byte === openArray || byte === openObject) depth++;
    // The closing bracket and brace stand two after the opening one.
    else if (byte === openArray + 2 || byte === openObject + 2) depth--;
    if (depth > maxDepth)
      throw new CommonwattError('MALFORMED_JSON', `the body is nested deeper than ${maxDepth} levels`);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const longDigits = /\d{16}/;
const longInteger = /^-?\d{16,}$/;
/** Begins the strings that stand for long integers; in valid JSON it is written `\u0000`, which nobody's text is. */
const mark = '\u0000';

/** The integer behind a value that `keepLongIntegers` kept. */
export function longIntegerOf(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !value.startsWith(mark)) return undefined;
  const digits = value.slice(1);
  // Converting digits takes time that grows faster than their number; no datatype needs more than twenty.
  return digits.length <= 40 && longInteger.test(digits) ? BigInt(digits) : undefined;
}

/** Writes integers of sixteen digits and more as marked strings: `JSON.parse` would round them. */
function keepLongIntegers(text: string): string {
  const pieces: string[] = [];
  let copied = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === quotation) {
      at = endOfString(text, at);
    } else if (code === minus || isDigit(code)) {
      const end = endOfNumber(text, at);
      if (end - at >= 16 && longInteger.test(text.slice(at, end))) {
        pieces.push(text.slice(copied, at), '"\\u0000', text.slice(at, end), '"');
        copied = end;
      }
      at = end;
    } else {
      at++;
    }
  }
  return pieces.length === 0 ? text : `${pieces.join('')}${text.slice(copied)}`;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** After the closing quotation mark, or the end of the text when there is none. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quotation) return at + 1;
    at += code === backslash ? 2 : 1;
  }
  return text.length;
}

/** After every character that can belong to a number: digits, signs, point, exponent. */
function endOfNumber(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && '0123456789.eE+-'.includes(text.charAt(at))) at++;
  return at;
}
