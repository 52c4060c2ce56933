// The icon of the page, as in public/favicon.svg. Drawn here it needs no request.

export function Logo({ size }: { size: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#2f6feb" />
      <path fill="#fff" d="M7 19h4v6H7zm7-6h4v12h-4zm7-6h4v18h-4z" />
    </svg>
  );
}
