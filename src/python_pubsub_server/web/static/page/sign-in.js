/**
 * Signing in, where the server wants to know who one is: asks for a token, says when it ends or is
 * no good any more, and signs out. The page stays as it is meanwhile.
 */
import { claimsOf } from "../client/claims.js";
import * as access from "./access.js";
import { byId, setText } from "./dom.js";
import { language, say } from "./language.js";

const ENDING_SECONDS = 120;
const TICK_MS = 1_000;

const NO_TOKEN =
  "This is no token: a token begins with eyJ and has three parts with points between them. Copy all of it.";

/** The sentences of each state: a title and a text; `{values}` are the token's. */
const TOLD = {
  needed: ["Sign in", "This server wants to know who you are. The token stays in this tab."],
  expired: ["Your token has ended", "Sign in with a new one: this page goes on where it stood, nothing on it is lost."],
  refused: ["The server takes your token no more", "Sign in with a new one: this page goes on where it stood, nothing on it is lost."],
  ending: ["Your token ends at {time}", "With a new one this page goes on without a break."],
  account: ["Signed in as {user}", "Until {time}. With a new token it is longer."],
};

export class SignIn {
  #client;
  #box = byId("sign-in");
  #field = byId("sign-in-token");
  #state = null; // a key of TOLD, or null: there is nothing to say
  #before; // the token before the one that is tried; undefined: none is tried
  #isDismissed = false; // that the token ends soon is known

  constructor(client) {
    this.#client = client;
    client.on("error", (error) => access.isRefusal(error) && access.standing.become("refused", error));
    client.on("state", ({ name }) => name === "connected" && this.#connected());
    access.standing.on("change", (rights, error) => this.#judged(rights, error));
    byId("sign-in-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    byId("account").onclick = () => this.#toggle();
    byId("sign-out").onclick = () => access.startOver(null);
    byId("sign-in-close").onclick = () => this.#close();
    this.#box.onkeydown = ({ key }) => {
      if (key === "Escape") this.#close();
    };
    setInterval(() => this.#tick(), TICK_MS);
    this.#showAccount();
  }

  #judged(rights, error) {
    const root = document.documentElement.dataset;
    root.rights = rights;
    if (rights === "user") root.sees = "own";
    else if (rights === "admin") delete root.sees;
    byId("not-admin").hidden = rights !== "user";
    const { sub } = access.claims();
    setText(byId("not-admin-user"), say("Signed in as {user}", { user: sub ?? "–" }));
    if (rights !== "refused") return;
    this.#client.pause();
    if (this.#before !== undefined) this.#fail(error);
    else if (access.token() === null) this.#become("needed");
    else this.#become(access.claims().exp * 1_000 <= Date.now() ? "expired" : "refused", error);
  }

  #connected() {
    if (access.standing.rights === "refused") access.standing.become("unknown");
    document.documentElement.dataset.seen = ""; // what is on the page by now is this user's
    if (this.#state === "account" || this.#state === "ending") return; // it may be in use
    this.#accepted();
  }

  /** The server goes by the token that there is. */
  #accepted() {
    this.#before = undefined;
    this.#isDismissed = false;
    this.#field.value = "";
    this.#become(null);
    this.#tick();
  }

  async #submit() {
    // What is copied from a terminal or a settings file may have line breaks or quotation marks.
    const token = this.#field.value.replace(/^\s*Bearer\s+/i, "").replace(/[\s"']/g, "");
    const { sub } = claimsOf(token);
    this.#tell(typeof sub === "string" ? "" : say(NO_TOKEN));
    if (typeof sub !== "string") return;
    const before = access.token();
    if (before !== null && access.claims().sub !== sub) {
      access.startOver(token);
      return;
    }
    this.#before = before;
    access.keepToken(token);
    const isOpen = this.#client.state.name === "connected";
    try {
      await this.#client.refresh(token); // without a connection: what comes of it is heard later
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!isOpen) return;
    if (access.standing.rights === "user") this.#client.reconnect(); // there may be more to see by now
    this.#accepted();
  }

  /** The token that was tried is no good; the one before may still be. */
  #fail(error) {
    const before = this.#before;
    this.#before = undefined;
    access.keepToken(before ?? null);
    if (before !== null && this.#client.state.name === "connected") this.#client.refresh(before).catch(() => this.#client.reconnect());
    this.#tell(`${say(error.message)}. ${say("Ask for a new token, or make one as it says below.")}`);
    this.#field.focus();
    this.#field.select();
  }

  #tick() {
    const { exp } = access.claims();
    if (exp === undefined || this.#isDismissed || this.#state !== null || this.#client.state.name !== "connected") return;
    if (exp - Date.now() / 1_000 <= ENDING_SECONDS) this.#become("ending");
  }

  #toggle() {
    if (this.#state === null) {
      this.#become("account");
      this.#field.focus();
    } else this.#close();
  }

  #close() {
    if (this.#state !== "account" && this.#state !== "ending") return; // the others are to be answered
    this.#isDismissed = this.#state === "ending";
    this.#become(null);
    byId("account").focus();
  }

  #become(state, error) {
    this.#state = state;
    this.#box.hidden = state === null;
    this.#box.dataset.state = state ?? "";
    byId("sign-in-close").hidden = state !== "account" && state !== "ending";
    byId("sign-out").hidden = access.token() === null;
    this.#showAccount();
    this.#tell("");
    if (state === null) return;
    const { sub, exp } = access.claims();
    const values = { user: sub, time: exp === undefined ? "–" : timeOf(exp) };
    const [title, text] = TOLD[state];
    setText(byId("sign-in-title"), say(title, values));
    setText(byId("sign-in-text"), say(text, values));
    setText(byId("sign-in-reason"), state === "refused" && error ? say(error.message) : "");
    if (state === "needed" && document.activeElement === document.body) this.#field.focus();
  }

  #showAccount() {
    const button = byId("account");
    const { sub } = access.claims();
    button.hidden = sub === undefined;
    setText(button, sub ?? "");
    button.title = sub === undefined ? "" : say("Signed in as {user}", { user: sub });
    button.setAttribute("aria-label", button.title || say("Signed out"));
    button.setAttribute("aria-expanded", String(this.#state !== null));
  }

  #tell(problem) {
    setText(byId("sign-in-problem"), problem);
    if (problem) {
      this.#field.setAttribute("aria-invalid", "true");
      byId("sign-in-how").open = true;
    } else this.#field.removeAttribute("aria-invalid");
  }
}

function timeOf(seconds) {
  const at = new Date(seconds * 1_000);
  const isToday = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(language, { timeStyle: "medium", ...(isToday ? {} : { dateStyle: "medium" }), hour12: false });
}
