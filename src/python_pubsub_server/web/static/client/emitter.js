/** Named events. A listener that throws is reported and does not keep the others from hearing. */
export class Emitter {
  #listeners = new Map();

  /**
   * Calls `listener` at each `name` event.
   * @param {string} name
   * @param {(...values: any[]) => void} listener
   * @returns {() => void} takes the listener off again
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => this.off(name, listener);
  }

  /**
   * Takes a listener off; without one, all of that name.
   * @param {string} name
   * @param {(...values: any[]) => void} [listener]
   */
  off(name, listener) {
    if (listener === undefined) this.#listeners.delete(name);
    else this.#listeners.get(name)?.delete(listener);
  }

  /** @protected */
  emit(name, ...values) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        report(error);
      }
    }
  }
}

function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}
