/** Long lists of which only the rows that can be seen are in the document. */

const SPARE_ROWS = 8; // above and below, so that scrolling shows no gap
const TABULAR = ["table", "grid", "treegrid"];
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: "page", PageUp: "-page", Home: "first", End: "last" };

/** Which rows to have: from the first one to before the last one. */
export function rowsInSight({ scrollTop, height, rowHeight, count }) {
  const first = Math.floor(scrollTop / rowHeight) - SPARE_ROWS;
  const end = Math.ceil((scrollTop + height) / rowHeight) + SPARE_ROWS;
  return { first: clamp(first, 0, count), end: clamp(end, 0, count) };
}

/** Where a key leads from a row; undefined if it is not one that moves. */
export function rowAfterKey(key, { index, count, pageRows }) {
  const step = Object.hasOwn(STEPS, key) ? STEPS[key] : undefined;
  if (step === undefined || count === 0) return undefined;
  if (step === "first") return 0;
  if (step === "last") return count - 1;
  const rows = { page: pageRows, "-page": -pageRows }[step] ?? step;
  return clamp(index + rows, 0, count - 1);
}

/** How far to scroll so that a row is in sight; where it already is, that stays. */
export function scrollTopShowing(index, { scrollTop, height, rowHeight }) {
  const top = index * rowHeight;
  return Math.min(top, Math.max(scrollTop, top + rowHeight - height));
}

/**
 * Makes a scrolling element a list of any length. All rows have one height.
 *
 * The container's role decides what is said of the rows: a table or grid numbers them by
 * `aria-rowindex` of `aria-rowcount`, everything else (it is a `list` unless it says otherwise) by
 * `aria-posinset` of `aria-setsize`. One row is in the tab order; arrows, Page, Home and End go on
 * from it. What the reader looks at stays in place when rows come or go above it, except at the top.
 *
 * @param {HTMLElement} container it scrolls: CSS gives it a height
 * @param {{rowHeight: number | (() => number), render: (item, present?: Element) => Element,
 *   key: (item) => string, headRows?: number}} options `render` makes the row of a new item; of one
 *   that has changed it gets the present row too, and may return that one, filled anew. `headRows`:
 *   rows of the table that stand before this list
 * @returns {{update: (items: any[]) => void, refresh: () => void, show: (key: string) => void,
 *   focus: (key: string) => void}} `refresh` draws all again
 */
export function virtualList(container, options) {
  return new VirtualList(container, options);
}

class VirtualList {
  #container;
  #options;
  #rows; // the element that is as high as all rows together
  #items = [];
  #indexes = new Map(); // key → index
  #shown = new Map(); // key → {item, element}
  #active = null; // the key of the row in the tab order
  #isTabular;

  constructor(container, options) {
    this.#container = container;
    this.#options = options;
    if (!container.hasAttribute("role")) container.setAttribute("role", "list");
    this.#isTabular = TABULAR.includes(container.getAttribute("role"));
    this.#rows = document.createElement("div");
    this.#rows.className = "virtual-rows";
    this.#rows.setAttribute("role", this.#isTabular ? "rowgroup" : "presentation");
    container.classList.add("virtual-list");
    container.append(this.#rows);
    container.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#rows.addEventListener("keydown", (event) => this.#key(event));
    this.#rows.addEventListener("focusin", ({ target }) => this.#focused(target));
    new ResizeObserver(() => this.#draw()).observe(container);
  }

  /** Shows other items, each with a key of its own. */
  update(items) {
    const before = this.#place();
    const activeIndex = this.#indexes.get(this.#active) ?? 0;
    this.#items = items;
    this.#indexes = new Map(items.map((item, index) => [this.#options.key(item), index]));
    if (!this.#indexes.has(this.#active)) {
      const next = items[Math.min(activeIndex, items.length - 1)];
      this.#active = next === undefined ? null : this.#options.key(next);
    }
    if (this.#isTabular) {
      const count = items.length + (this.#options.headRows ?? 0);
      this.#container.setAttribute("aria-rowcount", String(count));
    }
    this.#draw(before);
  }

  refresh() {
    for (const row of this.#shown.values()) row.item = undefined;
    this.#draw();
  }

  /** Scrolls to a row, if there is such a one. */
  show(key) {
    const index = this.#indexes.get(key);
    if (index === undefined) return;
    this.#container.scrollTop = scrollTopShowing(index, this.#sight());
    this.#draw();
  }

  focus(key) {
    if (!this.#indexes.has(key)) return;
    this.#active = key;
    this.show(key);
    this.#shown.get(key).element.focus({ preventScroll: true });
  }

  /** The first row that is wholly in sight, and how far it is from the top. */
  #place() {
    const { scrollTop, rowHeight } = this.#sight();
    if (scrollTop <= 0 || !this.#items.length) return null;
    const index = Math.min(Math.ceil(scrollTop / rowHeight), this.#items.length - 1);
    return { key: this.#options.key(this.#items[index]), above: index * rowHeight - scrollTop };
  }

  #sight() {
    const { rowHeight } = this.#options;
    return {
      scrollTop: this.#container.scrollTop,
      height: this.#container.clientHeight,
      rowHeight: typeof rowHeight === "function" ? rowHeight() : rowHeight,
      count: this.#items.length,
    };
  }

  #draw(place = null) {
    const { rowHeight, count } = this.#sight();
    const height = `${count * rowHeight}px`;
    if (this.#rows.style.height !== height) this.#rows.style.height = height;
    const index = place && this.#indexes.get(place.key);
    if (index !== null && index !== undefined) {
      const scrollTop = index * rowHeight - place.above;
      if (scrollTop !== this.#container.scrollTop) this.#container.scrollTop = scrollTop;
    }
    this.#fill(rowHeight);
  }

  #fill(rowHeight) {
    const { first, end } = rowsInSight(this.#sight());
    const wanted = new Set(this.#items.slice(first, end).map(this.#options.key));
    if (this.#active !== null) wanted.add(this.#active); // so that Tab finds it, and keeps it
    const keys = [...wanted].sort((one, two) => this.#indexes.get(one) - this.#indexes.get(two));
    const held = this.#heldFocus();
    for (const [key, { element }] of this.#shown) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    keys.forEach((key, at) => this.#row(key, at, rowHeight));
    if (held && !held.isConnected) this.#shown.get(this.#active)?.element.focus({ preventScroll: true });
    else if (held && held !== document.activeElement) held.focus({ preventScroll: true });
  }

  /** The element in the list that has the focus: to move a row takes it away. */
  #heldFocus() {
    const focused = document.activeElement;
    return focused !== this.#rows && this.#rows.contains(focused) ? focused : null;
  }

  #row(key, at, rowHeight) {
    const index = this.#indexes.get(key);
    const item = this.#items[index];
    let row = this.#shown.get(key);
    if (!row || row.item !== item) {
      const element = this.#options.render(item, row?.element);
      if (row && row.element !== element) row.element.replaceWith(element);
      row = { item, element };
      this.#shown.set(key, row);
      if (!element.hasAttribute("role")) element.setAttribute("role", this.#isTabular ? "row" : "listitem");
    }
    this.#number(row.element, index);
    row.element.tabIndex = key === this.#active ? 0 : -1;
    row.element.style.transform = `translateY(${index * rowHeight}px)`;
    const present = this.#rows.children[at] ?? null;
    if (present !== row.element) this.#rows.insertBefore(row.element, present);
  }

  #number(element, index) {
    if (this.#isTabular) {
      element.setAttribute("aria-rowindex", String(index + 1 + (this.#options.headRows ?? 0)));
      return;
    }
    element.setAttribute("aria-posinset", String(index + 1));
    element.setAttribute("aria-setsize", String(this.#items.length));
  }

  #keyOf(element) {
    for (const [key, row] of this.#shown) if (row.element.contains(element)) return key;
    return null;
  }

  #focused(target) {
    const key = this.#keyOf(target);
    if (key === null || key === this.#active) return;
    const before = this.#shown.get(this.#active);
    if (before) before.element.tabIndex = -1;
    this.#active = key;
    this.#shown.get(key).element.tabIndex = 0;
  }

  /** Keys that a field or a button of a row uses are left to it. */
  #key(event) {
    const key = this.#keyOf(event.target);
    if (key === null || this.#shown.get(key).element !== event.target || event.defaultPrevented) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { height, rowHeight, count } = this.#sight();
    const pageRows = Math.max(1, Math.floor(height / rowHeight) - 1);
    const next = rowAfterKey(event.key, { index: this.#indexes.get(key), count, pageRows });
    if (next === undefined) return;
    event.preventDefault();
    this.focus(this.#options.key(this.#items[next]));
  }
}

function clamp(number, least, most) {
  return Math.min(most, Math.max(least, number));
}
