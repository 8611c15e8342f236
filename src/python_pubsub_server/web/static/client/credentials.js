import { backoffDelay } from "./backoff.js";
import { claimsOf } from "./claims.js";

const LONGEST_MS = 86_400_000; // timers of browsers overflow beyond 24 days
const SHORTEST_MS = 1_000; // a token that is over already must not be asked for in a tight loop
const MARGIN_MS = 60_000;

/**
 * Milliseconds until a token is to be replaced: a minute before its end, and at three quarters of
 * a short life. Null where the token does not say. A clock that is late here is seen by `iat`,
 * because a token that one is given is new.
 */
export function renewalDelay(token, now) {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== "number") return null;
  const left = Math.min(exp * 1_000 - now, typeof iat === "number" ? (exp - iat) * 1_000 : Infinity);
  return Math.min(Math.max(left - Math.min(MARGIN_MS, left / 4), SHORTEST_MS), LONGEST_MS);
}

/** The credentials of each connection, and their renewal while it lasts. */
export class Credentials {
  #options;
  #observer;
  #token;
  #timer;
  #round = 0; // counts up when what is under way has become pointless
  #failures = 0;

  /**
   * @param {object} options the client's; `token` or `auth` may be functions
   * @param {{renew: (token: string) => Promise<any>, renewalFailed: (error: Error) => void}}
   *   observer hears of the token that is to be told to the server
   */
  constructor(options, observer) {
    this.#options = options;
    this.#observer = observer;
    this.#token = options.token;
  }

  /** Whether asking again may give others. */
  get canChange() {
    return typeof this.#token === "function" || typeof this.#options.auth === "function";
  }

  /** What the next handshake says, asked for anew. */
  async ask() {
    const { auth } = this.#options;
    const round = this.#round;
    const credentials = typeof auth === "function" ? await auth() : auth;
    const token = await this.#askToken();
    if (round === this.#round) this.#plan(token);
    return token === undefined ? credentials : { ...credentials, token };
  }

  /** From now on this token, or function. */
  replace(token) {
    this.#token = token;
  }

  /** Asks for a token and tells the server, on the connection that there is. */
  async renew() {
    this.stop();
    const round = this.#round;
    const token = await this.#askToken();
    if (round !== this.#round) return;
    await this.#observer.renew(token);
    if (round !== this.#round) return;
    this.#failures = 0;
    this.#plan(token);
  }

  /** The connection is gone. */
  stop() {
    this.#round += 1;
    this.#options.clock.clearTimeout(this.#timer);
  }

  async #askToken() {
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    return token ?? undefined;
  }

  #plan(token) {
    if (typeof this.#token !== "function" || token === undefined) return;
    const delay = renewalDelay(token, this.#options.wallClock());
    if (delay !== null) this.#schedule(delay);
  }

  #schedule(delay) {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(() => this.#renewSoon(), delay);
  }

  async #renewSoon() {
    const round = this.#round + 1; // what `renew` makes it
    try {
      await this.renew();
    } catch (error) {
      if (round !== this.#round) return; // the next connection asks anew
      this.#failures += 1;
      const { backoff, random } = this.#options;
      this.#schedule(SHORTEST_MS + backoffDelay(this.#failures, backoff, random));
      this.#observer.renewalFailed(error);
    }
  }
}
