/** The notifications of one user: those that are stored, and those that come. */
import { arrange, byId, instantiate, setText } from "../page/dom.js";
import { getJSON, sendJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { showTime } from "../page/text.js";

const MOST = 50;

export class Bell {
  #notifications = new Map(); // id → notification
  #elements = new Map();
  #channel;
  #user;
  #query;

  /**
   * @param {PubSubClient} client
   * @param {string} user
   * @param {boolean} isSignedIn whether the server knows the user by a token
   */
  constructor(client, user, isSignedIn) {
    this.#user = user;
    this.#query = isSignedIn ? "" : `user=${encodeURIComponent(user)}`;
    this.#channel = client.channel(`notifications:${user}`);
    this.#channel.on("notification", (notification) => this.#arrive(notification));
    // At each connection: what was read or came meanwhile.
    this.#channel.on("subscribed", () => this.#load());
    this.#channel.on("error", ({ message }) => this.#complain(message));
    client.on("notification:read", ({ id, user_id: of }) => of === user && this.#markRead(id));
    byId("notify-user").value = user;
    byId("notify").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
  }

  async #load() {
    try {
      const { rows } = await getJSON(`/api/notifications?limit=${MOST}&${this.#query}`);
      for (const row of rows.reverse()) this.#notifications.set(row.id, row);
      this.#complain("");
      this.#show();
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #arrive(notification) {
    if (typeof notification?.title !== "string") return; // another program's, of another shape
    const known = this.#notifications.get(notification.id);
    if (known) return; // of those that come again at each connect
    this.#notifications.set(notification.id, notification);
    this.#show();
    const isOld = !this.#notifications.has(notification.id); // one of those that no list shows any more
    if (!isOld) setText(byId("bell-said"), say("New: {title}", { title: notification.title }));
  }

  #markRead(id) {
    const notification = this.#notifications.get(id);
    if (notification) this.#notifications.set(id, { ...notification, read: true });
    this.#show();
  }

  #show() {
    const newest = [...this.#notifications.values()]
      .sort((one, other) => other.created_at - one.created_at)
      .slice(0, MOST);
    this.#notifications = new Map(newest.map((each) => [each.id, each]));
    for (const id of this.#elements.keys()) if (!this.#notifications.has(id)) this.#elements.delete(id);
    const unread = newest.filter(({ read }) => !read).length;
    setText(byId("bell-count"), unread ? String(unread) : "");
    byId("bell-empty").hidden = newest.length > 0;
    arrange(byId("bell-list"), newest.map((each) => this.#element(each)));
  }

  #element({ id, title, body, created_at: at, read }) {
    let element = this.#elements.get(id);
    if (!element) {
      element = instantiate("notification-template", { title, body });
      element.querySelector("[data-read]").onclick = () => this.#read(id);
      this.#elements.set(id, element);
    }
    showTime(element.querySelector("time"), at);
    element.dataset.read = String(Boolean(read));
    element.querySelector("[data-read]").hidden = Boolean(read);
    return element;
  }

  async #read(id) {
    try {
      await sendJSON(`/api/notifications/${encodeURIComponent(id)}/read?${this.#query}`, {});
      this.#markRead(id);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  async #send() {
    this.#complain("");
    const user = byId("notify-user").value.trim();
    const title = byId("notify-title").value.trim();
    if (!user || !title) {
      this.#complain(say("Say to whom, and give it a title."));
      return;
    }
    try {
      const body = say("from {user}", { user: this.#user });
      await sendJSON("/api/notifications", { user_id: user, title, body });
      const field = byId("notify-title");
      if (field.value.trim() === title) field.value = ""; // else the next one is being written
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(text) {
    setText(byId("notify-problem"), text);
  }
}
