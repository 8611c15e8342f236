/** A value that is kept in the browser; where that is full or forbidden, in this page only. */
export class Stored {
  #storage;
  #key;
  #value;

  constructor(storage, key, initial) {
    this.#storage = storage;
    this.#key = key;
    this.#value = JSON.parse(storage.getItem(key) ?? "null") ?? initial;
  }

  load() {
    return this.#value;
  }

  save(value) {
    this.#value = value;
    try {
      this.#storage.setItem(this.#key, JSON.stringify(value));
    } catch (error) {
      console.warn(`not kept in this browser: ${error.message}`);
    }
  }
}
