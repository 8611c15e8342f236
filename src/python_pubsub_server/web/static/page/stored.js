/** A list that this browser remembers, newest first, of at most so many. */
export class StoredList {
  #key;
  #most;

  constructor(key, most) {
    this.#key = key;
    this.#most = most;
  }

  /** What is stored; what another program wrote there counts as nothing. */
  read() {
    try {
      const list = JSON.parse(localStorage.getItem(this.#key) ?? "[]");
      return Array.isArray(list) ? list.slice(0, this.#most) : [];
    } catch {
      return [];
    }
  }

  /** Puts an item in front, in place of those that are `same`; false: the browser has no room. */
  add(item, same = () => false) {
    return this.#write([item, ...this.read().filter((each) => !same(each))]);
  }

  remove(index) {
    return this.#write(this.read().toSpliced(index, 1));
  }

  clear() {
    localStorage.removeItem(this.#key);
  }

  #write(list) {
    try {
      localStorage.setItem(this.#key, JSON.stringify(list.slice(0, this.#most)));
      return true;
    } catch {
      return false;
    }
  }
}
