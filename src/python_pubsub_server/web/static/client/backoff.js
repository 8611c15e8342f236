/**
 * Milliseconds to wait before attempt 1, 2, 3…: exponential with full jitter, so that the clients
 * of a restarted server don't come back all at once.
 */
export function backoffDelay(attempt, { base = 500, max = 15_000 } = {}, random = Math.random) {
  return random() * Math.min(max, base * 2 ** Math.min(attempt - 1, 30));
}
