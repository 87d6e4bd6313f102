/** Data sets, and the jobs that learn from them. */
import type { Dataset, DatasetRow, DatasetUpload, Job, JobRequest, SplitName } from './shapes.ts';
import type { Bytes, CallOptions, Transport } from './transport.ts';

export type WorkResources = ReturnType<typeof workResources>;

export interface JobWait extends CallOptions {
  /** Called when the state or the progress changed. */
  onProgress?: (job: Job) => void;
  /** Milliseconds between two looks; 300 unless told. */
  intervalMs?: number;
}

export function workResources(transport: Transport) {
  const getJob = (id: string, options?: CallOptions): Promise<Job> =>
    transport.json('GET', `/api/v1/jobs/${encodeURIComponent(id)}`, options);
  return {
    datasets: {
      upload(upload: DatasetUpload, csv: Bytes, options?: CallOptions): Promise<Dataset> {
        return transport.json('POST', '/api/v1/datasets', {
          ...options,
          query: { ...upload },
          bytes: csv,
          contentType: 'text/csv',
        });
      },
      async list(options?: CallOptions): Promise<Dataset[]> {
        const answer = await transport.json<{ datasets: Dataset[] }>('GET', '/api/v1/datasets', options);
        return answer.datasets;
      },
      get(name: string, options?: CallOptions): Promise<Dataset> {
        return transport.json('GET', `/api/v1/datasets/${encodeURIComponent(name)}`, options);
      },
      row(name: string, split: SplitName, row: number, options?: CallOptions): Promise<DatasetRow> {
        return transport.json('GET', `/api/v1/datasets/${encodeURIComponent(name)}/rows`, {
          ...options,
          query: { split, row },
        });
      },
    },
    jobs: {
      create(request: JobRequest, options?: CallOptions): Promise<Job> {
        return transport.json('POST', '/api/v1/jobs', { ...options, json: request });
      },
      async list(options?: CallOptions): Promise<Job[]> {
        const answer = await transport.json<{ jobs: Job[] }>('GET', '/api/v1/jobs', options);
        return answer.jobs;
      },
      get: getJob,
      cancel(id: string, options?: CallOptions): Promise<Job> {
        return transport.json('POST', `/api/v1/jobs/${encodeURIComponent(id)}/cancel`, options);
      },
      /** The `.h5` bytes of a finished training, the CSV of a finished batch. */
      artifact(id: string, options?: CallOptions): Promise<ReadableStream<Uint8Array>> {
        return transport.bytes('GET', `/api/v1/jobs/${encodeURIComponent(id)}/artifact`, options);
      },
      /** Follows a job to its end, however it ends. Aborting stops the waiting, not the job. */
      async wait(id: string, { onProgress, intervalMs = 300, signal }: JobWait = {}): Promise<Job> {
        let seen = '';
        for (;;) {
          const job = await getJob(id, { signal });
          const now = JSON.stringify([job.state, job.progress]);
          if (now !== seen) onProgress?.(job);
          seen = now;
          if (job.state !== 'queued' && job.state !== 'running') return job;
          await pause(intervalMs, signal);
        }
      },
    },
  };
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
