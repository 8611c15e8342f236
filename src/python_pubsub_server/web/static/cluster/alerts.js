import { arrange, byId, fill, instantiate, setName, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { count, duration, oneLine, showTime } from "../page/text.js";

const MOST_SAID = 20;
const KINDS = {
  database_down: "Database",
  bus_down: "Redis",
  loop_lag: "Event loop",
  disk_low: "Disk",
  node_lost: "Node lost",
  topic_silent: "Topic is silent",
  consumer_lag: "Consumer is behind",
};

/** What is wrong now, what was, and what programs say on the cluster's channels. */
export class Alerts {
  #rows = new Map(); // id and beginning → li
  #said = byId("said");

  show(active, ended) {
    this.#list("alerts", active);
    this.#list("ended", ended);
    setText(byId("alerts-count"), count(active.length));
    setText(byId("ended-count"), count(ended.length));
    byId("alerts-empty").hidden = active.length > 0;
    byId("ended-box").hidden = ended.length === 0;
    byId("alerts-card").dataset.state = active.length ? "bad" : "good";
  }

  /** An event of a program, whatever it holds. */
  say(channel, value) {
    const row = instantiate("said-template", { channel, text: oneLine(value) });
    showTime(row.querySelector("time"), Date.now() / 1000);
    this.#said.prepend(row);
    while (this.#said.children.length > MOST_SAID) this.#said.lastElementChild.remove();
    byId("said-box").hidden = false;
    setText(byId("said-count"), count(this.#said.children.length));
  }

  #list(name, alerts) {
    const wanted = new Map(alerts.map((alert) => [`${name} ${alert.id} ${alert.since}`, alert]));
    for (const key of this.#rows.keys()) if (key.startsWith(`${name} `) && !wanted.has(key)) this.#rows.delete(key);
    arrange(byId(name), [...wanted].map(([key, alert]) => this.#row(key, alert)));
  }

  #row(key, { id, kind, subject, text, since, until }) {
    const row = this.#rows.get(key) ?? instantiate("alert-template");
    this.#rows.set(key, row);
    row.dataset.alert = id;
    const isOver = until !== null && until !== undefined;
    setName(row.querySelector('[data-field="subject"]'), String(subject));
    fill(row, { kind: kind in KINDS ? say(KINDS[kind]) : kind, text, took: isOver ? say("for {time}", { time: duration(until - since) }) : "" });
    const time = row.querySelector("time");
    showTime(time, since);
    time.title = [since, until]
      .filter((each) => typeof each === "number")
      .map((each) => new Date(each * 1000).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" }))
      .join(" – ");
    return row;
  }
}
