/** Whom this tab speaks for: its token, kept as long as the tab, and what the server thinks of it. */
import { claimsOf } from "../client/claims.js";
import { Emitter } from "../client/emitter.js";

const KEY = "pubsub-token";

export function token() {
  return sessionStorage.getItem(KEY);
}

/** What the token says: `{sub, exp, …}`; `{}` without one. */
export function claims() {
  return claimsOf(token() ?? "");
}

/** Keeps a token for this tab; null: none. */
export function keepToken(value) {
  if (value === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, value);
}

/** Opens the page anew with another user's token, or with none: nothing of this user stays in the tab. */
export function startOver(value) {
  addEventListener("pagehide", () => {
    sessionStorage.clear(); // after all that keep something then
    keepToken(value);
  });
  location.reload();
}

/** Credentials of a Socket.IO handshake. */
export function handshake() {
  return token() === null ? {} : { token: token() };
}

/** Credentials of an HTTP request. */
export function headers() {
  return token() === null ? {} : { Authorization: `Bearer ${token()}` };
}

/** A name that this tab may use as producer or consumer. */
export function ownName(name) {
  const { sub } = claims();
  return sub === undefined ? name : `${sub}/${name}`;
}

/**
 * What the server thinks of this tab. `rights`: `unknown` until it has said so, `refused`, `user`
 * or `admin`. Event: `change` (rights, error: why it is refused).
 */
class Standing extends Emitter {
  rights = "unknown";

  become(rights, error) {
    this.rights = rights;
    this.emit("change", rights, error);
  }

  /** Whether it is of use to ask for what only admins are told. */
  get mayWatch() {
    return this.rights === "unknown" || this.rights === "admin";
  }
}

export const standing = new Standing();

/** Whether an error says that the token is no good (any more). */
export function isRefusal({ code }) {
  return code === "unauthenticated" || code === "token_expired";
}
