import type { LiveEvent } from './shapes.ts';

/**
 * Server-sent events of type `impact` from a response body. Read with fetch because the browser's own EventSource
 * cannot send the key in a header, and a key does not belong into an address.
 */
export async function* liveEventsOf(body: ReadableStream<BufferSource>): AsyncGenerator<LiveEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += value;
      // A carriage return at the very end may be half of a line break: it waits for the rest.
      const events = pending.split(/\r\n\r\n|\n\n|\r\r(?!$)/);
      pending = events.pop() ?? '';
      for (const event of events) {
        const live = liveEventOf(event);
        if (live) yield live;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** The JSON of one event, or null for a comment (keep-alive) or an event of another type. */
function liveEventOf(event: string): LiveEvent | null {
  let type = 'message';
  const data: string[] = [];
  for (const line of event.split(/\r\n|\n|\r/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === 'event') type = value ?? '';
    if (field === 'data') data.push(value ?? '');
  }
  if (type !== 'impact' || data.length === 0) return null;
  const live: LiveEvent = JSON.parse(data.join('\n'));
  return live;
}
