import { Namespace } from "./namespace.js";

/** The namespace `/`, whose events the client hears in place of listeners. */
export class Root extends Namespace {
  #hear;

  constructor(transmit, options, hear) {
    super("/", transmit, options);
    this.#hear = hear;
  }

  emit(event, ...values) {
    this.#hear(event, ...values);
  }

  /** What waits goes on waiting: the client decides whether to try again. */
  refuse(error) {
    this.#hear("connect_error", error);
  }
}
