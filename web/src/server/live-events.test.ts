import { describe, expect, it } from 'vitest';
import { liveEventsOf } from './live-events.ts';

const event = {
  rur: 0.2,
  energyWh: 1,
  carbonGCo2e: 2,
  requests: 3,
  powerW: 4,
  quality: 'estimated' as const,
};

async function read(...chunks: string[]) {
  const encoder = new TextEncoder();
  const body = new ReadableStream<BufferSource>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
      controller.close();
    },
  });
  const seen = [];
  for await (const live of liveEventsOf(body)) seen.push(live);
  return seen;
}

describe('live events', () => {
  it('come one by one, wherever the network cut them', async () => {
    const text = `event: impact\ndata: ${JSON.stringify(event)}\n\n`;
    expect(await read(text + text)).toEqual([event, event]);
    expect(await read(...text)).toEqual([event]);
  });

  it('are told from keep-alive comments and events of other types', async () => {
    expect(await read(': still here\n\nevent: other\ndata: {}\n\n')).toEqual([]);
  });

  it('may use any line break and any number of data lines', async () => {
    expect(await read(`event:impact\r\ndata: ${JSON.stringify(event)}\r\n\r\n`)).toEqual([event]);
    expect(await read(`event: impact\ndata: {"rur": 0.2,\ndata: "requests": 3}\n\n`)).toEqual([
      { rur: 0.2, requests: 3 },
    ]);
  });
});
