import { arrange, byId, fill, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { Diagnosis } from "./diagnosis.js";
import { probeAll } from "./probes.js";

const TITLES = {
  http: "HTTP",
  polling: "Long polling",
  websocket: "WebSocket",
  upgrade: "Upgrade from polling to WebSocket",
  stream: "Streaming (Server-Sent Events)",
  idle: "Silence",
};
const STATES = { unknown: "not tried", good: "works", warn: "slow", bad: "fails" };

/** What works on the way to the server, what doesn't, and what to look at then. */
export class Checks {
  #diagnosis = new Diagnosis();
  #rows = new Map();
  #hints = new Map();

  constructor() {
    const button = byId("checks-run");
    button.onclick = async () => {
      button.disabled = true;
      setText(button, say("Checking…"));
      await probeAll((fact) => this.hear(fact));
      setText(button, say("Check all"));
      button.disabled = false;
      button.focus();
    };
    this.#show();
  }

  /** Hears a fact of a connection. */
  hear(fact) {
    this.#diagnosis.add(fact);
    this.#show();
  }

  #show() {
    arrange(byId("checks"), this.#diagnosis.checks.map((check) => this.#row(check)));
    const hints = this.#diagnosis.hints;
    arrange(byId("hints"), hints.map((hint) => this.#hint(hint)));
    byId("hints-none").hidden = hints.length > 0;
  }

  #row({ name, state, text, values }) {
    const row = this.#rows.get(name) ?? instantiate("check-template", { title: say(TITLES[name]) });
    this.#rows.set(name, row);
    row.dataset.check = name;
    row.dataset.state = state;
    fill(row, { state: say(STATES[state]), text: say(text, values) });
    return row;
  }

  #hint({ name, text, values, config }) {
    const row = this.#hints.get(name) ?? instantiate("hint-template");
    this.#hints.set(name, row);
    row.dataset.hint = name;
    fill(row, { text: say(text, values), config: config ?? "" });
    row.querySelector("[data-config]").hidden = !config;
    return row;
  }
}
