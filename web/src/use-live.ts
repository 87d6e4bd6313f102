import { useEffect, useState } from 'react';
import { asProblem, isAbort, type Problem } from './server/problem.ts';
import type { Server } from './server/server.ts';
import type { LiveEvent } from './server/shapes.ts';

const remembered = 60;
const reconnectAfterMs = 3_000;

/** The newest live figures and those before them, oldest first; the stream is reopened when it ends. */
export function useLive(server: Server): { history: LiveEvent[]; problem: Problem | null } {
  const [history, setHistory] = useState<LiveEvent[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const listen = async () => {
      try {
        for await (const event of server.liveEvents(stop.signal)) {
          setHistory((before) => [...before.slice(1 - remembered), event]);
          setProblem(null);
        }
      } catch (thrown) {
        if (isAbort(thrown)) return;
        setProblem(asProblem(thrown));
      }
      if (!stop.signal.aborted) timer = setTimeout(listen, reconnectAfterMs);
    };
    void listen();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [server]);
  return { history, problem };
}
