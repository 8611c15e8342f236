import { arrange, byId, fill, instantiate, setName, setText } from "../page/dom.js";
import { getJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { bytes, count, showTime } from "../page/text.js";
import { leadTo } from "./places.js";
import { Table } from "./table.js";

/** Who is connected; of the one that the reader chose, also what waits for it. */
export class Clients {
  url = "/monitoring/clients?limit=1000";
  #table;
  #details = byId("client-details");
  #chosen = null; // a connection

  constructor() {
    this.#table = new Table({
      name: "clients",
      title: "Connected clients",
      key: (row) => row.connection_id,
      sort: { column: 3, isDescending: true },
      find: (text) => {
        const words = text.toLowerCase().split(/\s+/).filter(Boolean);
        return (row) => words.every((word) => described(row).toLowerCase().includes(word));
      },
      columns: [
        { title: "Consumer", kind: "name", value: nameOf },
        { title: "Topics", kind: "name", value: topicsOf },
        { title: "Waiting", kind: "bytes", value: (row) => row.backlog_bytes },
        { title: "Since", kind: "time", value: (row) => row.connected_at },
      ],
      onChoose: (row) => this.#choose(row),
    });
    byId("clients").append(this.#details);
    byId("client-close").onclick = () => this.#close();
    this.#details.onkeydown = ({ key }) => key === "Escape" && this.#close();
  }

  show(rows) {
    this.#table.update(rows);
    const row = rows.find((each) => each.connection_id === this.#chosen?.connection_id);
    if (row) this.#readDetails(row);
    else if (this.#chosen) setText(byId("client-state"), say("not connected any more"));
    offerConsumers(rows);
  }

  fail(text) {
    this.#table.fail(text);
  }

  async #choose(row) {
    this.#chosen = row;
    this.#details.hidden = false;
    byId("client-subscriptions").replaceChildren();
    await this.#readDetails(row);
    byId("client-name").focus({ preventScroll: true });
    this.#details.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.#details.hidden = true;
    this.#chosen = null;
    document.querySelector("#clients [role=row][tabindex='0']")?.focus();
  }

  /** What waits is counted for one consumer only: for all of them it would cost too much. */
  async #readDetails(row) {
    let shown = row;
    setText(byId("client-error"), "");
    if (row.consumer !== null) {
      try {
        const { rows } = await getJSON(`/monitoring/clients?consumer=${encodeURIComponent(row.consumer)}`);
        shown = rows.find((each) => each.connection_id === row.connection_id) ?? row;
      } catch (error) {
        setText(byId("client-error"), say("Not up to date: {reason}", { reason: error.message }));
      }
    }
    if (this.#chosen?.connection_id === row.connection_id) this.#show(shown);
  }

  #show(row) {
    setName(byId("client-name"), nameOf(row));
    setText(byId("client-state"), "");
    fill(this.#details, { address: row.address, connection: row.connection_id, backlog: bytes(row.backlog_bytes) });
    showTime(this.#details.querySelector('[data-field="since"]'), row.connected_at);
    const list = byId("client-subscriptions");
    const present = new Map([...list.children].map((each) => [each.dataset.topic, each]));
    arrange(list, row.subscriptions.map((each) => subscription(present.get(each.topic), each)));
    byId("client-nothing").hidden = row.subscriptions.length > 0;
  }
}

function subscription(present, { topic, connected_at: since, unconsumed }) {
  const element = present ?? instantiate("client-subscription-template");
  element.dataset.topic = topic;
  const link = element.querySelector("a");
  setName(link, topic);
  if (topic.endsWith("*")) link.removeAttribute("href");
  else leadTo(link, { topic });
  showTime(element.querySelector("time"), since);
  fill(element, { unconsumed: unconfirmed(unconsumed) });
  element.dataset.state = unconsumed ? "waiting" : "none";
  return element;
}

function unconfirmed(number) {
  if (number === undefined) return "";
  if (number === null) return say("too many topics to count");
  if (number === 0) return say("all confirmed");
  return say("{number} to confirm", { number: number < 1_000 ? count(number) : `≥ ${count(number)}` });
}

function nameOf(row) {
  return row.consumer ?? say("not subscribed");
}

function topicsOf(row) {
  return row.subscriptions.map(({ topic }) => topic).join(", ");
}

function described(row) {
  return `${nameOf(row)} ${topicsOf(row)} ${row.address}`;
}

/** Offers the consumers that are connected in the forms. */
function offerConsumers(rows) {
  const names = [...new Set(rows.map((row) => row.consumer).filter(Boolean))].slice(0, 200);
  const list = byId("known-consumers");
  if ([...list.children].map((option) => option.value).join("\n") === names.join("\n")) return;
  const option = (value) => Object.assign(document.createElement("option"), { value });
  list.replaceChildren(...names.map(option));
}
