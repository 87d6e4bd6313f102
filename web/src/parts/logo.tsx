export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M6 9c3 14 6 14 9 3l1-3 1 3c3 11 6 11 9-3" />
    </svg>
  );
}
