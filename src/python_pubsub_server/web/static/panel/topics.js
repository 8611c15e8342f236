import { byId } from "../page/dom.js";
import { finder } from "../page/topics.js";
import { Rates, SLOTS } from "./rates.js";
import { Table } from "./table.js";

const SVG = "http://www.w3.org/2000/svg";

/** All topics with their rates: the table, the names that forms offer, and whoever asks for one. */
export class Topics {
  url = "/topics";
  isAlwaysNeeded = true; // a topic's page shows them too
  onChange = () => {};
  #rates = new Rates();
  #rows = new Map();
  #table;

  constructor() {
    this.#table = new Table({
      name: "topics",
      title: "Topics",
      key: (row) => row.topic,
      find: (text) => {
        const accepts = finder(text);
        return (row) => accepts(row.topic);
      },
      columns: [
        { title: "Topic", kind: "topic", value: (row) => row.topic },
        { title: "Last minute", kind: (cell, row) => this.#bars(cell, row), value: (row) => row.rate },
        { title: "Rate", kind: "rate", value: (row) => row.rate },
        { title: "Messages", kind: "number", value: (row) => row.messages },
        { title: "Subscribers", kind: "number", value: (row) => row.subscribers },
        { title: "Last message", kind: "time", value: (row) => row.last_published_at },
      ],
    });
  }

  /** A topic as it was read last, with its `rate`; undefined: there is no such topic. */
  get(topic) {
    return this.#rows.get(topic);
  }

  show(rows) {
    this.#rates.note(rows, Date.now() / 1000);
    const rated = rows.map((row) => ({ ...row, rate: this.#rates.rate(row.topic) }));
    this.#rows = new Map(rated.map((row) => [row.topic, row]));
    this.#table.update(rated);
    offerTopics(rows);
    this.onChange();
  }

  fail(text) {
    this.#table.fail(text);
  }

  /** A bar for each two seconds, the newest at the right. */
  #bars(cell, { topic }) {
    cell.dataset.kind = "bars";
    const slots = this.#rates.slots(topic);
    const most = Math.max(...slots, 1);
    const start = SLOTS - slots.length;
    const bars = slots.map((number, index) => {
      const height = number ? Math.max(2, Math.round((18 * number) / most)) : 0;
      return height ? `M${(start + index) * 3} 20v-${height}h2v${height}z` : "";
    });
    if (!cell.firstElementChild) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", `0 0 ${SLOTS * 3} 20`);
      svg.setAttribute("aria-hidden", "true"); // the rate beside it says as much
      svg.append(document.createElementNS(SVG, "path"));
      cell.append(svg);
    }
    cell.firstElementChild.firstElementChild.setAttribute("d", bars.join(""));
  }
}

/** Offers the topics that exist in the forms. */
function offerTopics(rows) {
  const names = rows.slice(0, 200).map((row) => row.topic);
  const list = byId("known-topics");
  if ([...list.children].map((option) => option.value).join("\n") === names.join("\n")) return;
  const option = (value) => Object.assign(document.createElement("option"), { value });
  list.replaceChildren(...names.map(option));
}
