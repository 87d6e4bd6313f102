import type { Problem } from '../server/problem.ts';

/** What went wrong and what would be right, in the server's own words. */
export function ProblemNote({ problem, onRetry }: { problem: Problem; onRetry?: () => void }) {
  return (
    <div className="problem" role="alert">
      <p>
        <strong>{problem.message}</strong>
      </p>
      {problem.hint && <p>{problem.hint}</p>}
      {(problem.code || problem.requestId) && (
        <p className="quiet">
          {problem.code} {problem.requestId && `request ${problem.requestId}`}
        </p>
      )}
      {onRetry && (
        <button type="button" className="secondary" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}
