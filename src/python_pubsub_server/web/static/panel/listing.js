import { writeCommands } from "../page/copy.js";
import { arrange, byId, fill, instantiate, setName, setText } from "../page/dom.js";
import { getJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { count, oneLine, pretty, showTime } from "../page/text.js";
import { leadTo } from "./places.js";

/**
 * One live table over a route that answers in pages, newest first.
 *
 * A column is `{title, kind, value(row)}`; kind: topic, sequence, name, id, time, payload. Rows keep their
 * elements from one refresh to the next, so that what is selected or opened stays so.
 */
export class Listing {
  #source;
  #element;
  #rows = new Map(); // key → element
  #url;
  #next = null;
  #isInFlight = false;

  /** @param {{name, title, url, columns, key}} source */
  constructor(source) {
    this.#source = source;
    this.#url = source.url;
    this.#element = instantiate("listing-template", { title: say(source.title) });
    this.#element.id = source.name;
    const heading = `${source.name}-heading`;
    this.#element.querySelector("h3").id = heading;
    this.#element.setAttribute("aria-labelledby", heading);
    this.#element.querySelector(".scroll").setAttribute("aria-labelledby", heading);
    this.#element.querySelector("thead tr").append(...source.columns.map(headCell));
    const empty = this.#element.querySelector("[data-empty]");
    empty.append(byId(`empty-${source.name}`).content.cloneNode(true));
    writeCommands(empty);
    this.#button("newest").onclick = () => this.#turnTo(source.url);
    this.#button("older").onclick = () => this.#turnTo(this.#next);
    byId("listings").append(this.#element);
  }

  /** Reads the route again, unless the answer to the last reading is still to come. */
  async refresh() {
    if (this.#isInFlight) return;
    this.#isInFlight = true;
    const url = this.#url;
    try {
      const { rows, next } = await getJSON(url);
      if (url === this.#url) this.#show(rows, next);
      this.#fail("");
    } catch (error) {
      this.#fail(say("Not up to date: {reason}", { reason: `${error.message} (${error.code})` }));
    } finally {
      this.#isInFlight = false;
    }
    if (url !== this.#url) this.refresh();
  }

  #turnTo(url) {
    this.#url = url;
    this.#element.dataset.page = url === this.#source.url ? "newest" : "older";
    this.refresh();
  }

  #show(rows, next) {
    const seen = new Map();
    for (const row of rows) seen.set(this.#keyOf(row, seen), row);
    const elements = [...seen].map(([key, row]) => this.#row(key, row));
    for (const key of this.#rows.keys()) if (!seen.has(key)) this.#rows.delete(key);
    arrange(this.#element.querySelector("tbody"), elements);
    this.#next = next;
    this.#showFrame(rows);
  }

  #showFrame(rows) {
    const isNewest = this.#url === this.#source.url;
    this.#element.querySelector("[data-empty]").hidden = rows.length > 0;
    this.#element.querySelector(".scroll").hidden = rows.length === 0;
    this.#element.querySelector("[data-paging]").hidden = isNewest && !this.#next;
    this.#button("newest").disabled = isNewest;
    this.#button("older").disabled = !this.#next;
  }

  /** A key that is unique on this page: equal rows are numbered from the oldest, which stay. */
  #keyOf(row, seen) {
    const key = this.#source.key(row);
    let number = 0;
    while (seen.has(`${key}\n${number}`)) number += 1;
    return `${key}\n${number}`;
  }

  #row(key, row) {
    let element = this.#rows.get(key);
    if (!element) {
      element = document.createElement("tr");
      element.setAttribute("role", "row");
      element.append(...this.#source.columns.map(emptyCell));
      this.#rows.set(key, element);
    }
    this.#source.columns.forEach(({ kind, value }, index) => {
      FILL[kind](element.cells[index], value(row));
    });
    return element;
  }

  #fail(text) {
    this.#element.dataset.state = text ? "stale" : "fresh";
    fill(this.#element, { error: text });
  }

  #button(name) {
    return this.#element.querySelector(`[data-${name}]`);
  }
}

function headCell({ title, kind }) {
  const element = document.createElement("th");
  element.scope = "col";
  element.setAttribute("role", "columnheader");
  element.dataset.kind = kind;
  element.textContent = say(title);
  return element;
}

function emptyCell({ title, kind }) {
  const element = document.createElement("td");
  element.setAttribute("role", "cell");
  element.dataset.kind = kind;
  element.dataset.label = say(title);
  element.dataset.column = title;
  if (kind === "time") element.append(document.createElement("time"));
  if (kind === "topic" || kind === "sequence") element.append(document.createElement("a"));
  if (kind === "payload") element.append(instantiate("payload-template"));
  return element;
}

const FILL = {
  name: (cell, text) => setName(cell, text),
  topic: (cell, topic) => {
    setName(cell.firstChild, topic);
    leadTo(cell.firstChild, { topic });
  },
  sequence: (cell, { topic, sequence }) => {
    setText(cell.firstChild, `#${count(sequence)}`);
    leadTo(cell.firstChild, { topic, at: sequence });
  },
  id: (cell, text) => {
    setText(cell, text);
    cell.title = text; // the column cuts it
  },
  time: (cell, seconds) => showTime(cell.firstChild, seconds),
  payload: (cell, value) => {
    const details = cell.firstChild;
    const whole = details.querySelector('[data-field="whole"]');
    fill(details, { preview: oneLine(value) });
    details.ontoggle = () => setText(whole, details.open ? pretty(value) : "");
  },
};
