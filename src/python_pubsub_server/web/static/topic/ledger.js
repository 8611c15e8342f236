import { byId, arrange, fill, instantiate, setName, setText } from "../page/dom.js";
import { getJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { showTime } from "../page/text.js";

/** What became of one message: who got it, who confirmed it, who still has to, and why not others. */
export class Ledger {
  element = instantiate("ledger-template");
  #path;
  #message;

  constructor(message) {
    this.#message = message;
    this.#path = `/topics/${encodeURIComponent(message.topic)}`;
    this.element.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#explain(this.element.querySelector("input").value.trim());
    };
    this.element.querySelector("input").setAttribute("list", byId("known-consumers").id);
  }

  async refresh() {
    try {
      const { rows } = await getJSON(`${this.#path}/messages/${this.#message.sequence}/deliveries`);
      this.#show(rows);
      fill(this.element, { error: "" });
    } catch (error) {
      fill(this.element, { error: `${error.message} (${error.code})` });
    }
  }

  #show({ consumers, pending }) {
    const waiting = new Set(pending);
    const sent = new Set(consumers.map(({ consumer }) => consumer));
    const unsent = pending.filter((consumer) => !sent.has(consumer));
    const rows = [
      ...consumers.map((each) => ({ ...each, isPending: waiting.has(each.consumer) })),
      ...unsent.map((consumer) => ({ consumer, delivered_at: null, consumed_at: null, isPending: true })),
    ];
    arrange(this.element.querySelector("tbody"), rows.map(rowOf));
    this.element.querySelector("table").hidden = rows.length === 0;
    this.element.querySelector("[data-nobody]").hidden = rows.length > 0;
  }

  async #explain(consumer) {
    const output = this.element.querySelector("output");
    if (!consumer) {
      setText(output, say("A consumer is needed."));
      return;
    }
    const query = new URLSearchParams({ consumer, sequence: this.#message.sequence });
    try {
      const { rows } = await getJSON(`${this.#path}/explain?${query}`);
      output.dataset.verdict = rows.verdict;
      setText(output, `${say(VERDICTS[rows.verdict] ?? rows.verdict)}. ${say(rows.detail)}.`);
    } catch (error) {
      delete output.dataset.verdict;
      setText(output, `${error.message} (${error.code})`);
    }
  }
}

const VERDICTS = {
  consumed: "Confirmed",
  delivered: "Sent",
  not_subscribed: "Not subscribed",
  slow: "Too slow",
  trimmed: "Deleted",
  forbidden: "Not allowed",
  unknown: "Unknown",
};

function rowOf({ consumer, delivered_at: sentAt, consumed_at: confirmedAt, isPending }) {
  const row = instantiate("ledger-row-template", {
    state: isPending ? say("pending") : say("confirmed"),
  });
  row.dataset.state = isPending ? "pending" : "confirmed";
  setName(row.querySelector('[data-field="consumer"]'), consumer);
  const [sent, confirmed] = row.querySelectorAll("time");
  showTime(sent, sentAt);
  showTime(confirmed, confirmedAt);
  if (sentAt === null) setText(sent, "–");
  if (confirmedAt === null) setText(confirmed, "–");
  return row;
}
