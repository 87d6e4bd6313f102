import { describe, expect, it } from 'vitest';
import { keyFromFragment } from './session.ts';

describe('the API key in the address', () => {
  it('is read from the fragment', () => {
    expect(keyFromFragment('#key=cw_abc123')).toBe('cw_abc123');
    expect(keyFromFragment('#tab=1&key=cw_abc123')).toBe('cw_abc123');
    expect(keyFromFragment('#key=cw_a%2Bb')).toBe('cw_a+b');
  });

  it('is absent from any other fragment', () => {
    expect(keyFromFragment('')).toBeNull();
    expect(keyFromFragment('#impact')).toBeNull();
    expect(keyFromFragment('#key=')).toBeNull();
  });
});
