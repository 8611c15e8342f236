import { arrange, byId, fill, instantiate, setName, setText } from "../page/dom.js";
import { writeCommands } from "../page/copy.js";
import { say } from "../page/language.js";
import { bytes, count, rate, showTime } from "../page/text.js";
import { virtualList } from "../page/virtual-list.js";
import { leadTo } from "./places.js";

const ROW_HEIGHT = 37;
const ROW_HEIGHT_PHONE = 62; // names above, facts below
const phone = matchMedia("(max-width: 600px)");

/**
 * A table of any length, in which the reader can search and sort.
 *
 * A column is `{title, kind, value(row), isSorted?}`; kind: topic (a link), name, number, rate, bytes,
 * time, or a function `(cell, row)` that fills the cell.
 */
export class Table {
  #source;
  #element;
  #list;
  #rows = [];
  #sorted; // {column, isDescending}

  /** @param {{name, title, columns, key, find: (text) => (row) => boolean, onChoose?, sort?}} source */
  constructor(source) {
    this.#source = source;
    this.#sorted = { column: source.sort?.column ?? 0, isDescending: source.sort?.isDescending ?? false };
    this.#element = instantiate("table-template", { title: say(source.title) });
    this.#element.id = source.name;
    const heading = `${source.name}-heading`;
    this.#element.querySelector("h3").id = heading;
    this.#element.setAttribute("aria-labelledby", heading);
    const box = this.#element.querySelector(".table");
    box.setAttribute("aria-labelledby", heading);
    this.#element.querySelector(".table-row").append(...source.columns.map((column, index) => this.#head(column, index)));
    this.#markSorted();
    const empty = this.#element.querySelector("[data-empty]");
    empty.append(byId(`empty-${source.name}`).content.cloneNode(true));
    writeCommands(empty);
    this.#find.setAttribute("aria-label", say("Search in: {title}", { title: say(source.title) }));
    this.#find.oninput = () => this.#show();
    this.#list = virtualList(box, {
      rowHeight: () => (phone.matches ? ROW_HEIGHT_PHONE : ROW_HEIGHT),
      headRows: 1,
      key: source.key,
      render: (row, present) => this.#row(row, present),
    });
    phone.addEventListener("change", () => this.#list.refresh());
    byId("listings").append(this.#element);
  }

  update(rows) {
    this.#rows = rows;
    this.#show();
  }

  /** Says why the rows are old; "": they are not. */
  fail(text) {
    this.#element.dataset.state = text ? "stale" : "fresh";
    fill(this.#element, { error: text });
  }

  get #find() {
    return this.#element.querySelector("[data-find]");
  }

  #show() {
    const { column, isDescending } = this.#sorted;
    const { value } = this.#source.columns[column];
    const accepts = this.#source.find(this.#find.value);
    const shown = this.#rows.filter(accepts);
    const direction = isDescending ? -1 : 1;
    shown.sort((one, two) => direction * compare(value(one), value(two)));
    this.#list.update(shown);
    const total = count(this.#rows.length);
    fill(this.#element, {
      count: shown.length === this.#rows.length ? total : `${count(shown.length)} / ${total}`,
    });
    const hasRows = this.#rows.length > 0;
    this.#element.querySelector("[data-empty]").hidden = hasRows;
    this.#element.querySelector("[data-nothing-found]").hidden = !hasRows || shown.length > 0;
    this.#element.querySelector(".table").hidden = shown.length === 0;
    this.#find.hidden = !hasRows;
  }

  #head({ title, kind }, index) {
    const cell = instantiate("table-head-template", { title: say(title) });
    cell.dataset.kind = typeof kind === "function" ? "name" : kind;
    const button = cell.querySelector("button");
    button.onclick = () => {
      const isSame = this.#sorted.column === index;
      const isNumber = !["topic", "name"].includes(cell.dataset.kind);
      this.#sorted = { column: index, isDescending: isSame ? !this.#sorted.isDescending : isNumber };
      this.#markSorted();
      this.#show();
    };
    return cell;
  }

  #markSorted() {
    const { column, isDescending } = this.#sorted;
    [...this.#element.querySelectorAll("[role=columnheader]")].forEach((cell, index) => {
      if (index === column) cell.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  }

  #row(row, present) {
    const element = present ?? instantiate("table-row-template");
    if (!present) {
      arrange(element, this.#source.columns.map(emptyCell));
      if (this.#source.onChoose) this.#makeChoosable(element);
    }
    element.row = row;
    this.#source.columns.forEach(({ kind, value }, index) => {
      const cell = element.children[index];
      if (typeof kind === "function") kind(cell, row);
      else FILL[kind](cell, value(row));
    });
    return element;
  }

  #makeChoosable(element) {
    element.dataset.choosable = "";
    const choose = () => this.#source.onChoose(element.row);
    element.addEventListener("click", ({ target }) => target.closest("a") || choose());
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || ![" ", "Enter"].includes(event.key)) return;
      event.preventDefault();
      choose();
    });
  }
}

function emptyCell({ title, kind }) {
  const name = typeof kind === "function" ? "name" : kind;
  const cell = instantiate(name === "topic" ? "table-topic-template" : name === "time" ? "table-time-template" : "table-cell-template");
  cell.dataset.kind = name;
  cell.dataset.label = say(title);
  return cell;
}

const FILL = {
  topic: (cell, topic) => {
    const link = cell.firstElementChild;
    setName(link, topic);
    link.title = topic;
    leadTo(link, { topic });
  },
  name: (cell, text) => {
    setText(cell, text);
    cell.title = text;
  },
  number: (cell, number) => setText(cell, count(number)),
  rate: (cell, number) => setText(cell, number === null ? "–" : rate(number)),
  bytes: (cell, number) => setText(cell, bytes(number)),
  time: (cell, seconds) => showTime(cell.firstElementChild, seconds),
};

/** Nothing is less than anything; names are compared as people do. */
function compare(one, two) {
  if (typeof one === "string" && typeof two === "string") return COLLATOR.compare(one, two);
  return (one ?? -Infinity) - (two ?? -Infinity) || 0;
}

const COLLATOR = new Intl.Collator(undefined, { numeric: true });
