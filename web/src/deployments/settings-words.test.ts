import { expect, it } from 'vitest';
import { defaultSettings } from '../../../src/serve/settings.ts';
import { settingsWords } from './settings-words.ts';

const words = (changes: object) => Object.fromEntries(settingsWords({ ...defaultSettings, ...changes }));

it('says the defaults of the server in words', () => {
  expect(words({})).toEqual({
    Batches: 'as many rows as the server computes in one go',
    'Waiting for company': 'as arrivals suggest',
    Queue: 'as long as the server allows',
    'Answers used again': 'for 300 s, inside each organisation',
    Memory: 'until 600 s without a request',
    Copies: '1',
    Latency: 'no objective',
    'Warm-up': 'batches of 1',
    'Computed on': 'cpu',
  });
});

it('says what an owner chose', () => {
  expect(
    words({
      maxBatchSize: 64,
      preferredBatchSizes: [16, 32],
      maxQueueDelayMs: 5,
      queueLimit: 10,
      queueTimeoutMs: 250,
      priorityLevels: 3,
      cache: { enabled: true, maxAgeS: 60, scope: 'everyone' },
      warmUpBatchSizes: [],
      pinned: true,
      threads: 2,
      latencyObjectiveMs: 50,
      executionProviders: ['cuda', 'cpu'],
    }),
  ).toEqual({
    Batches: 'up to 64 rows; preferably 16, 32',
    'Waiting for company': 'up to 5 ms',
    Queue: 'up to 10 requests; refused after 250 ms; 3 levels of priority',
    'Answers used again': 'for 60 s, across organisations',
    Memory: 'pinned: it stays',
    Copies: '1, 2 threads each',
    Latency: '95 % within 50 ms',
    'Warm-up': 'none',
    'Computed on': 'cuda, cpu',
  });
  expect(words({ cache: { enabled: false } })['Answers used again']).toBe('never');
  expect(words({ idleUnloadS: null }).Memory).toBe('until another model needs the room');
});
