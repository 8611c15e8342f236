/** The access token of this tab, where the server wants one. */
const KEY = "pubsub-token";

export function token() {
  return sessionStorage.getItem(KEY) ?? new URLSearchParams(location.search).get("access_token");
}

export function keepToken(value) {
  sessionStorage.setItem(KEY, value);
}

/** Credentials of a Socket.IO handshake. */
export function handshake() {
  return token() ? { token: token() } : {};
}

/** Credentials of an HTTP request. */
export function headers() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}
