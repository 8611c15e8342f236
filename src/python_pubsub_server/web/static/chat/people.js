import { arrange, byId, fill, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count } from "../page/text.js";
import { when } from "./times.js";

const WORDS = { online: "online", away: "away", offline: "offline" };
const MOST_SHOWN = 200;

/** Who is in the room. */
export class People {
  #rows = new Map();

  show(users, own) {
    const present = users.filter(({ status }) => status !== "offline").length;
    setText(byId("people-count"), count(present));
    setText(byId("people-button-count"), count(present));
    const shown = users.slice(0, MOST_SHOWN);
    const names = new Set(shown.map(({ user }) => user));
    for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name);
    arrange(byId("people"), shown.map((user) => this.#row(user, own)));
    const more = users.length - shown.length;
    setText(byId("people-more"), more > 0 ? say("and {number} more", { number: count(more) }) : "");
  }

  #row({ user, status, last_seen }, own) {
    const row = this.#rows.get(user) ?? instantiate("person-template");
    this.#rows.set(user, row);
    row.dataset.status = status;
    showName(row, user);
    const words = status === "offline" ? `${say("offline")}, ${when(last_seen)}` : say(WORDS[status]);
    fill(row, { status: user === own ? `${words} · ${say("you")}` : words });
    return row;
  }
}

/** Puts a name into an element with the fields `user`, `mark` and `initial`. */
export function showName(element, user) {
  const [, name, mark] = /^(.*?)(#[0-9a-f]{4})?$/su.exec(user);
  fill(element, { user: name, mark });
  const badge = element.querySelector("[data-initial]");
  if (badge) {
    setText(badge, (name.match(/\p{L}|\p{N}/u)?.[0] ?? "?").toLocaleUpperCase());
    badge.dataset.hue = String(hueOf(user));
  }
}

/** One of eight colours, always the same one for a name. */
function hueOf(user) {
  let sum = 0;
  for (const letter of user) sum = (sum * 31 + letter.codePointAt(0)) % 65_521;
  return sum % 8;
}
